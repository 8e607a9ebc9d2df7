"""A claim does not wait for SQLite's disk: what a machine that loses its power may lose, and what never."""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from inference.settings import StoreSettings
from inference.store import migrate
from inference.store.database import Database
from inference.store.jobs import SqlJobs
from tests.contract import jobs

FRAME_BYTES, WAL_HEADER_BYTES = 24 + 4096, 32


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[Database]:
    opened = Database(f"sqlite:///{tmp_path}/penstock.db", StoreSettings())
    migrate.upgrade(opened)
    jobs.add_service(opened)
    yield opened
    opened.close()


@contextmanager
def told(database: Database) -> Iterator[list[str]]:
    """The statements that say how a commit is written, begin it, and end it; and how it then is."""
    said: list[str] = []
    with database.write() as connection:
        raw = connection.connection.driver_connection
    assert isinstance(raw, sqlite3.Connection)
    raw.set_trace_callback(lambda text: said.append(text.split(" synchronous=")[-1].split()[0]))
    yield said
    raw.set_trace_callback(None)
    said.append(f"then {raw.execute('PRAGMA synchronous').fetchone()[0]}")


def test_a_disk_that_kept_any_part_of_the_journal_never_has_an_end_without_its_claim(sqlite, tmp_path):
    store, by = SqlJobs(sqlite), jobs.add_instance(sqlite)
    (job_id,) = jobs.queue(store, jobs.job())
    with closing(sqlite3.connect(tmp_path / "penstock.db")) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    claimed = store.claim(by, max_rows=1)
    store.finish(by, [jobs.completed(claimed.jobs[0])])

    journal = (tmp_path / "penstock.db-wal").read_bytes()
    frames = (len(journal) - WAL_HEADER_BYTES) // FRAME_BYTES
    seen = [
        after_power_loss(tmp_path, job_id, journal[: WAL_HEADER_BYTES + n * FRAME_BYTES]) for n in range(frames + 1)
    ]

    known = [("pending", 0, 0), ("running", 1, 0), ("completed", 1, 1)]
    assert [one for n, one in enumerate(seen) if n == 0 or one != seen[n - 1]] == known


def after_power_loss(folder: Path, job_id: str, journal: bytes) -> tuple[str, int, int]:
    """State, attempt, and rows of attempts, by a database whose journal was kept so far only."""
    left = folder / "left.db"
    (folder / "left.db-shm").unlink(missing_ok=True)
    shutil.copy(folder / "penstock.db", left)
    (folder / "left.db-wal").write_bytes(journal)
    with closing(sqlite3.connect(left)) as connection:
        attempts = "(SELECT count(*) FROM attempts WHERE job_id = id)"
        row = connection.execute(f"SELECT state, attempt, {attempts} FROM jobs WHERE id = ?", [job_id]).fetchone()
    state, attempt, ended = row
    return state, attempt, ended


def test_a_claim_alone_does_not_wait_for_the_disk_and_the_next_commit_does(sqlite):
    store, by = SqlJobs(sqlite), jobs.add_instance(sqlite)
    jobs.queue(store, jobs.job(), jobs.job())

    with told(sqlite) as said:
        claimed = store.claim(by, max_rows=1)
        store.finish(by, [jobs.completed(claimed.jobs[0])], max_rows=1)

    assert [word for word in said if word in ("NORMAL", "FULL", "BEGIN", "COMMIT")] == [
        *("NORMAL", "BEGIN", "COMMIT", "FULL"),
        *("BEGIN", "COMMIT"),
    ]
    assert said[-1] == "then 2"


@pytest.mark.parametrize("weight", [{"deadline": 1.0}, {"crashes": 1}])
def test_a_claim_that_ends_a_job_or_takes_a_suspect_waits_for_the_disk(sqlite, weight):
    store, by = SqlJobs(sqlite), jobs.add_instance(sqlite)
    (job_id,) = jobs.queue(store, jobs.job())
    jobs.change(sqlite, job_id, **weight)

    with told(sqlite) as said:
        claimed = store.claim(by, max_rows=1)

    order = [word for word in said if word in ("NORMAL", "FULL", "COMMIT", "ROLLBACK")]
    assert order == ["NORMAL", "ROLLBACK", "FULL", "COMMIT"]
    assert [job_id] == [*claimed.expired_ids, *(job.id for job in claimed.jobs)]
    assert said[-1] == "then 2"
