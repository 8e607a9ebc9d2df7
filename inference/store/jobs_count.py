"""How many jobs ended how: by what few of them are, for there may be millions that completed."""

from collections import Counter

import sqlalchemy as sa

from inference.jobs.model import JobState
from inference.store.database import Database

_ALL, _LIVE = "all", "live"
LIVE = {
    "ix_jobs_pending": "state = 'pending' AND not_before IS NULL",
    "ix_jobs_delayed": "state = 'pending' AND not_before IS NOT NULL",
    "ix_jobs_running": "state = 'running'",
}
"""Partial indexes and their conditions: all jobs that are not over yet."""


def live(db: Database) -> list[str]:
    """FROM and WHERE of each part."""
    return [f"FROM jobs{db.by(index)} WHERE {condition}" for index, condition in LIVE.items()]


def unfinished(db: Database) -> dict[tuple[str, JobState], int]:
    """Jobs that wait or run, by service and state."""
    parts = [f"SELECT service_id, state, count(*) AS n {part} GROUP BY service_id, state" for part in live(db)]
    found = Counter[tuple[str, JobState]]()
    with db.read() as connection:
        for service_id, state, count in connection.execute(sa.text(" UNION ALL ".join(parts))):
            found[service_id, JobState(state)] += count
    return found


def finals(db: Database) -> dict[tuple[str, JobState], int]:
    """Jobs in final states, by service and state. What completed is all that is neither live nor ended badly.

    One statement, so that all its parts see the same jobs; each part is answered by an index. To group a million
    completed jobs by their state took a second of CPU.
    """
    parts = [
        "SELECT service_id, state, count(*) AS n FROM jobs WHERE completed_at IS NOT NULL AND state <> 'completed' "
        "GROUP BY service_id, state",
        f"SELECT service_id, '{_ALL}', count(*) FROM jobs{db.by('ix_jobs_service_id')} GROUP BY service_id",
        *(f"SELECT service_id, '{_LIVE}', count(*) {part} GROUP BY service_id" for part in live(db)),
    ]
    completed = Counter[str]()
    found: dict[tuple[str, JobState], int] = {}
    with db.read() as connection:
        for service_id, state, count in connection.execute(sa.text(" UNION ALL ".join(parts))):
            completed[service_id] += count if state == _ALL else -count
            if state not in (_ALL, _LIVE):
                found[service_id, JobState(state)] = count
    return found | {(service_id, JobState.COMPLETED): count for service_id, count in completed.items() if count}
