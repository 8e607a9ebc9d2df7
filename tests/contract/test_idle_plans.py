"""What an idle system asks every second or so: none of it walks through the tasks that are over."""

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from inference.store.database import Database
from inference.store.flow import SqlFlow
from inference.store.jobs import SqlJobs
from inference.store.scaling import SqlScaling
from tests.contract.jobs import SERVICE

NOW_S = 1_795_000_000
DUTIES: dict[str, Callable[[Database], object]] = {
    "the sampler counts queues": lambda db: SqlFlow(db, lambda: 0.0).queues(),
    "the sampler counts ends": lambda db: SqlFlow(db, lambda: 0.0).count(2 * NOW_S, 2 * NOW_S + 8),
    "an engine polls": lambda db: SqlJobs(db).has_waiting(SERVICE),
    "the ticker rings": lambda db: SqlJobs(db).services_with_waiting(),
    "the ticker reaps": lambda db: SqlJobs(db).reap(),
    "the ticker promotes": lambda db: SqlJobs(db).promote(),
    "the ticker expires": lambda db: SqlJobs(db).expire(),
    "a quota is looked at": lambda db: SqlJobs(db).waiting("default"),
    "a scrape asks for backlogs": lambda db: SqlJobs(db).backlog(),
    "the autoscaler glances": lambda db: SqlScaling(db).glances([SERVICE]),
    "the autoscaler counts": lambda db: SqlScaling(db).unfinished([SERVICE], most=100),
}
OF_THE_LIVE = ("ix_jobs_pending", "ix_jobs_delayed", "ix_jobs_running", "ix_jobs_deadline", "ix_jobs_completed_at")
BY_KEY = ("(id=?)", "sqlite_autoindex_jobs", "(service_id=? AND id>?)")
NEWEST = "SEARCH j USING COVERING INDEX ix_jobs_service_id (service_id=?)"
"""Its last entry, for max(id)."""


@pytest.mark.parametrize("duty", DUTIES)
def test_a_duty_reads_jobs_by_the_index_of_those_that_live(database: Database, duty: str):
    if not database.is_sqlite:
        pytest.skip("PostgreSQL counts its rows, and plans by them")
    statements: list[tuple[str, Any]] = []
    sa.event.listen(database.engine, "before_cursor_execute", lambda *seen: statements.append(seen[2:4]))

    DUTIES[duty](database)

    with database.read() as connection:
        steps = [
            str(row[-1])
            for statement, bound in list(statements)
            if "jobs" in statement and statement.lstrip().startswith(("SELECT", "WITH", "UPDATE"))
            for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", bound)
        ]
    on_jobs = [step for step in steps if " jobs" in step or step.startswith(("SEARCH j ", "SCAN j ", "SEARCH h "))]
    assert on_jobs
    assert [step for step in on_jobs if step != NEWEST and not any(one in step for one in OF_THE_LIVE + BY_KEY)] == []
