"""Lists of tasks by filter: pages that look at so many tasks show, all together, what one that looks at all would."""

import itertools
import random
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from inference.access.model import Scope
from inference.jobs.block import Page
from inference.jobs.model import FINAL, JobFilter, JobState
from inference.store import jobs_list, tables
from inference.store.database import Database
from tests.contract import jobs

SERVICES = {"5" * 32: "default", "6" * 32: "default", "7" * 32: "other"}
FIRST_S = 1_795_000_000.0
APART_S = 20_000.0
TINY = jobs_list.Bounds(window=7, few=3)


def _row(number: int, dice: random.Random) -> dict[str, Any]:
    state = dice.choice(list(JobState))
    service_id = dice.choice(list(SERVICES))
    at = FIRST_S + number * APART_S
    is_over = state in FINAL
    new = jobs.job(id=f"{int(at * 1000):012x}{number:020x}", service_id=service_id, tenant_id=SERVICES[service_id])
    return {
        **{name: getattr(new, name) for name in ("id", "tenant_id", "service_id", "timeout_s", "bucket", "rows")},
        "state": state.value,
        "max_attempts": 3,
        "priority": dice.randrange(3),
        "order_key": at,
        "submitted_at": at,
        "not_before": at if state is JobState.PENDING and dice.random() < 0.5 else None,
        "completed_at": at if is_over else None,
        "error_code": dice.choice(("engine_failed", "timed_out")) if is_over else None,
        "worker": dice.choice(("a", "b")),
        "model_version": dice.choice(("1", "2")),
    }


@pytest.fixture
def rows(database: Database) -> list[dict[str, Any]]:
    """A hundred tasks in all states, of three services and two tenants."""
    dice = random.Random(5)
    made = [_row(number, dice) for number in range(100)]
    for service_id, tenant_id in SERVICES.items():
        jobs.add_service(database, service_id, tenant_id=tenant_id)
    with database.write() as connection:
        connection.execute(tables.jobs.insert(), made)
    return made


FILTERS: dict[str, tuple[Any, ...]] = {
    "service_id": (None, "5" * 32),
    "state": (None, *JobState),
    "priority": (None, 1),
    "worker": (None, "a", "nobody"),
    "error_code": (None, "timed_out"),
    "created_from": (None, FIRST_S + 30 * APART_S),
    "created_to": (None, FIRST_S + 60 * APART_S),
    "is_oldest_first": (False, True),
}


def _filters() -> Iterator[dict[str, Any]]:
    every = list(itertools.product(*FILTERS.values()))
    for values in random.Random(6).sample(every, 120):
        yield dict(zip(FILTERS, values, strict=True))


def _walk(database: Database, scope: Scope, which: dict[str, Any]) -> list[Page]:
    pages = list[Page]()
    before = None
    while not pages or before is not None:
        asked = JobFilter(**which, limit=4, before_id=before)
        pages.append(jobs_list.page(database, scope, asked, TINY))
        before = pages[-1].after
    return pages


def _fits(row: dict[str, Any], which: dict[str, Any]) -> bool:
    is_bad = row["state"] in ("cancelled", "dead", "expired", "failed")
    return (
        (which["error_code"] is None or is_bad)
        and all(
            which[name] in (None, row[name]) for name in ("service_id", "state", "priority", "worker", "error_code")
        )
        and row["submitted_at"] >= (which["created_from"] or 0)
        and row["submitted_at"] < (which["created_to"] or float("inf"))
    )


@pytest.mark.parametrize(
    "scope",
    [Scope("default"), Scope("default", service_id="6" * 32), Scope("other")],
    ids=["tenant", "service", "other"],
)
def test_pages_of_bounded_work_show_together_what_fits_once_and_in_order(
    database: Database, rows: list[dict[str, Any]], scope: Scope
):
    mine = [
        row for row in rows if row["tenant_id"] == scope.tenant_id and scope.service_id in (None, row["service_id"])
    ]

    for which in _filters():
        pages = _walk(database, scope, which)

        shown = [view.id for page in pages for view in page.views]
        wanted = sorted((row["id"] for row in mine if _fits(row, which)), reverse=not which["is_oldest_first"])
        assert shown == wanted, which
        assert all(len(page.views) <= 4 for page in pages)


def test_a_page_stops_looking_and_says_where_to_go_on(database: Database, rows: list[dict[str, Any]]):
    newest = sorted((row["id"] for row in rows if row["service_id"] == "5" * 32), reverse=True)

    page = jobs_list.page(database, Scope("default"), JobFilter(service_id="5" * 32, worker="nobody"), TINY)

    assert page == Page(views=[], after=newest[TINY.window - 1])


@pytest.mark.parametrize("which", [{"state": JobState.FAILED}, {"error_code": "none"}, {"state": JobState.RUNNING}])
@pytest.mark.parametrize("service_id", [None, "5" * 32])
def test_what_is_rare_is_read_from_an_index_of_its_state(
    database: Database, which: dict[str, Any], service_id: str | None
):
    jobs.add_service(database)
    _many_completed(database)
    statements: list[tuple[str, Any]] = []
    sa.event.listen(database.engine, "before_cursor_execute", lambda *seen: statements.append(seen[2:4]))

    jobs_list.page(database, Scope("default"), JobFilter(service_id=service_id, **which))

    explain = "EXPLAIN QUERY PLAN " if database.is_sqlite else "EXPLAIN "
    with database.read() as connection:
        plans = [
            str(connection.exec_driver_sql(explain + statement, parameters).all())
            for statement, parameters in list(statements)
        ]
    assert all("_bad" in plan or "ix_jobs_running" in plan for plan in plans), plans


def _many_completed(database: Database) -> None:
    """Enough for PostgreSQL to take an index."""
    dice = random.Random(7)
    done = {
        "state": "completed",
        "service_id": "5" * 32,
        "tenant_id": "default",
        "completed_at": 1.0,
        "not_before": None,
    }
    with database.write() as connection:
        connection.execute(tables.jobs.insert(), [_row(number, dice) | done for number in range(2_000)])
        if not database.is_sqlite:
            connection.exec_driver_sql("ANALYZE jobs")
