"""A PostgreSQL that stands still, and closes nothing: away after a moment, and used again when it answers."""

import os
import signal
from collections.abc import Iterator

import pytest

from inference.errors import StoreUnavailable
from inference.settings import StoreSettings
from inference.store.database import Database


@pytest.fixture
def hurried(postgres_url: str) -> Iterator[Database]:
    database = Database(postgres_url, StoreSettings(answer_timeout_s=0.3))
    yield database
    database.close()


def test_a_server_process_that_stands_still_counts_as_away_and_the_next_one_is_asked(hurried: Database):
    with hurried.read() as connection:
        pid = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
    os.kill(pid, signal.SIGSTOP)

    try:
        with pytest.raises(StoreUnavailable, match=r"no answer within 0\.3 s") as caught:
            hurried.ping()
    finally:
        os.kill(pid, signal.SIGCONT)

    assert caught.value.details["retry_after_s"] >= 1
    with hurried.read() as connection:
        assert connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one() != pid


def test_a_change_whose_answer_came_too_late_was_not_made(hurried: Database):
    with hurried.write() as connection:
        connection.exec_driver_sql("CREATE TABLE late (n int)")

    with pytest.raises(StoreUnavailable), hurried.write() as connection:
        connection.exec_driver_sql("INSERT INTO late SELECT 1 FROM pg_sleep(1)")

    with hurried.write() as connection, hurried.unhurried(connection):
        found = connection.exec_driver_sql("SELECT count(*) FROM late").scalar_one()
        connection.exec_driver_sql("DROP TABLE late")
    assert found == 0


def test_a_migration_may_take_as_long_as_it_needs(hurried: Database):
    with hurried.write() as connection, hurried.unhurried(connection):
        connection.exec_driver_sql("SELECT pg_sleep(0.6)")

    with pytest.raises(StoreUnavailable), hurried.read() as connection:
        connection.exec_driver_sql("SELECT pg_sleep(0.6)")
