"""Pages of jobs by filter, each in a bounded time however many jobs there are.

Lists go by id, and no index knows of most filters: a page looks at so many jobs and no more, and says where the next
one begins. What is rare is found by the partial index of its state.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from inference.access.model import Scope
from inference.jobs.block import Page
from inference.jobs.model import JobFilter, JobState
from inference.store.database import Database
from inference.store.job_filter import IS_BAD, conditions, id_range, is_bad
from inference.store.job_views import VIEW, view
from inference.store.scoped import jobs_in


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """`window`: jobs that a page looks at, whether they fit or not; `few`: those that are looked at first.

    Waiting jobs that are fewer than `few` are simply sorted.
    """

    window: int = 200_000
    few: int = 2_000


USUAL = Bounds()


def page(db: Database, scope: Scope, which: JobFilter, bounds: Bounds = USUAL) -> Page:
    """At most `which.limit` jobs, in order, and where to go on; a page may be short, or empty, and not the last."""
    end: str | None = None
    with db.read() as connection:
        look = _Look(db, connection, scope, which)
        if which.state is JobState.RUNNING:  # never many
            rows = look.rows("AND j.state = 'running'", index="ix_jobs_running")
        elif (waiting := look.waiting(bounds.few)) is not None:
            rows = look.rows(f"AND {db.among('j.id', 'ids')}", ids=db.ids(waiting))
        elif not _may_skip(which):
            rows = look.rows()
        else:
            for window in (bounds.few, bounds.window):
                end = look.end(window)
                rows = look.rows() if end is None else look.rows(f"AND j.id {look.until} :end", end=end)
                if end is None or len(rows) > which.limit:
                    break
    views = [view(row._asdict()) for row in rows[: which.limit]]
    return Page(views=views, after=views[-1].id if len(rows) > which.limit else end)


def _may_skip(which: JobFilter) -> bool:
    """Whether jobs may have to be passed over before one fits."""
    wanted = (which.state, which.priority, which.model_version, which.worker, which.error_code)
    return any(one is not None for one in (*wanted, which.created_from, which.created_to))


class _Look:
    """One caller's question, and the statements that answer it."""

    def __init__(self, db: Database, connection: sa.Connection, scope: Scope, which: JobFilter) -> None:
        self._db, self._connection, self._scope, self._which = db, connection, scope, which
        self._order, past, self.until = ("ASC", ">", "<=") if which.is_oldest_first else ("DESC", "<", ">=")
        self._past = "" if which.before_id is None else f" AND j.id {past} :before"
        self._before = {} if which.before_id is None else {"before": which.before_id}
        self._service = which.service_id or scope.service_id
        self._is_bad, self._from = is_bad(which), "jobs j"
        if self._is_bad:
            self._from += db.by("ix_jobs_tenant_bad" if self._service is None else "ix_jobs_service_bad")

    def rows(self, more: str = "", *, index: str = "", **bound: Any) -> Sequence[Any]:
        """What fits, and one more than is wanted where there is one."""
        inside, scoped = jobs_in(self._scope, "j")
        fits, filtered = conditions(self._which)
        source = f"jobs j{self._db.by(index)}" if index else self._from
        statement = (
            f"SELECT {VIEW}, NULL AS result FROM {source} "
            f"WHERE {inside}{fits}{self._past} {more} ORDER BY j.id {self._order} LIMIT :limit"
        )
        bound |= scoped | filtered | self._before | {"limit": self._which.limit + 1}
        return self._connection.execute(sa.text(statement), bound).all()

    def end(self, window: int) -> str | None:
        """The last of so many jobs, counted in an index alone; None when the list ends before it."""
        bound: dict[str, Any] = {"tenant": self._scope.tenant_id, "skipped": window - 1}
        if self._service is None:
            inside = "j.tenant_id = :tenant"
        else:
            inside = "j.service_id = (SELECT s.id FROM services s WHERE s.id = :mine AND s.tenant_id = :tenant)"
            bound["mine"] = self._service
        ids, ranged = id_range(self._which)
        bad = f" AND {IS_BAD}" if self._is_bad else ""
        statement = (
            f"SELECT j.id FROM {self._from} WHERE {inside}{ids}{bad}{self._past} "
            f"ORDER BY j.id {self._order} LIMIT 1 OFFSET :skipped"
        )
        found = self._connection.execute(sa.text(statement), bound | ranged | self._before).scalar_one_or_none()
        return None if found is None else str(found)

    def waiting(self, few: int) -> Sequence[str] | None:
        """Ids of all that wait, where they are fewer; None where they are more, or others are asked for."""
        if self._which.state is not JobState.PENDING:
            return None
        bound: dict[str, Any] = {"tenant": self._scope.tenant_id, "few": few}
        mine = "SELECT s.id FROM services s WHERE s.tenant_id = :tenant"
        if self._service is not None:
            mine, bound["mine"] = f"{mine} AND s.id = :mine", self._service
        found = list[str]()
        for index, condition in (("ix_jobs_pending", "IS NULL"), ("ix_jobs_delayed", "IS NOT NULL")):
            statement = (
                f"SELECT j.id FROM jobs j{self._db.by(index)} WHERE j.service_id IN ({mine}) AND j.state = 'pending' "
                f"AND j.not_before {condition} LIMIT :few"
            )
            found += self._connection.execute(sa.text(statement), bound).scalars()
            if len(found) >= few:
                return None
        return found
