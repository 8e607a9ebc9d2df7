"""One key, one answer: also late, also while the first is still being written by another process."""

import dataclasses
from collections.abc import Iterator

import pytest

from inference.errors import InvalidField
from inference.jobs.submit import deadline_passed
from inference.store import tables
from inference.store.database import Database
from inference.store.jobs import SqlJobs
from tests.contract.jobs import alone, count, job, together
from tests.contract.processes import answer, release_together, spawn

SLOW_SQLITE = (
    "CREATE TRIGGER slow AFTER INSERT ON submissions BEGIN SELECT (WITH RECURSIVE c(n) AS "
    "(SELECT 1 UNION ALL SELECT n + 1 FROM c LIMIT 1000000) SELECT count(*) FROM c); END"
)
SLOW_POSTGRESQL = (
    "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.3); RETURN NEW; END $$",
    "CREATE TRIGGER slow AFTER INSERT ON submissions FOR EACH ROW EXECUTE FUNCTION slow()",
)


@pytest.fixture
def slow(database: Database) -> Iterator[None]:
    """Between the taking of a key and the commit lies a good while."""
    with database.write() as connection:
        for statement in (SLOW_SQLITE,) if database.is_sqlite else SLOW_POSTGRESQL:
            connection.exec_driver_sql(statement)
    yield
    if not database.is_sqlite:
        with database.write() as connection:
            connection.exec_driver_sql("DROP TRIGGER slow ON submissions")
            connection.exec_driver_sql("DROP FUNCTION slow")


@pytest.mark.usefixtures("slow")
def test_two_processes_that_send_one_key_at_once_get_one_answer(store: SqlJobs, database: Database, database_url: str):
    senders = [spawn("keyed", database_url, "order-17", 8, 0) for _ in range(2)]
    release_together(senders)
    answers = [one for sender in senders for one in answer(sender)]

    assert len(answers) == 16
    assert all(one == answers[0] for one in answers), answers
    assert count(database, tables.jobs) == 1


@pytest.mark.usefixtures("slow")
def test_a_late_sender_gets_the_answer_that_is_just_being_written_or_a_refusal_that_holds(
    store: SqlJobs, database: Database, database_url: str
):
    """Whoever comes first decides: a late sender that takes the key first is refused, and gives it back."""
    senders = [spawn("keyed", database_url, "order-17", 4, late) for late in (0, 1)]
    release_together(senders)
    in_time, late = (answer(sender) for sender in senders)

    print(f"late senders got: {late}")
    assert all(one == in_time[0] for one in in_time), in_time
    assert isinstance(in_time[0], list)
    assert all(one in (in_time[0], "invalid_field") for one in late), late
    assert count(database, tables.jobs) == 1


def test_a_late_replay_is_answered_and_a_late_first_sending_refused(store: SqlJobs, database: Database):
    first = alone(job(), key="k", body_hash=b"same")
    store.insert([first])
    late = dataclasses.replace(alone(job(), key="k", body_hash=b"same"), refusal=deadline_passed())
    new = dataclasses.replace(together(job(), job(), key="new", body_hash=b"same"), refusal=deadline_passed())
    twin = dataclasses.replace(new)

    replay, refused, refused_too, mate = store.insert([late, new, twin, alone(job())])
    (after,) = store.insert([alone(job(), key="new", body_hash=b"other")])

    assert (replay.job_ids, replay.is_replay) == ((first.jobs[0].id,), True)
    assert isinstance(refused, InvalidField)
    assert isinstance(refused_too, InvalidField)
    assert len(mate.job_ids) == 1
    assert not after.is_replay, "the key of what was refused stays free"
    assert count(database, tables.jobs) == 3
