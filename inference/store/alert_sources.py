"""What alert rules look at, read for all services at once; an idle system costs a few short reads."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

import sqlalchemy as sa

from inference.alerts.model import Subject
from inference.logs.model import Level, Question
from inference.logs.ports import LogStore
from inference.logs.words import terms
from inference.store.database import Database
from inference.store.series import SqlSeries
from inference.store.tables import replicas, service_events, services
from inference.telemetry.series import Span

HEAD = 1_000
"""Of a queue so many are asked for their age: those behind them came later, or are less urgent."""
MINUTE_S = 60


class SqlAlertSources:
    """`Sources` on SQLite and PostgreSQL. `spent`: of each budget, as `Sources.budgets_used` gives it."""

    def __init__(
        self, database: Database, logs: LogStore, spent: Callable[[], Mapping[tuple[str, str], float]]
    ) -> None:
        self._db = database
        self._series = SqlSeries(database)
        self._logs = logs
        self._spent = spent
        head = (
            "SELECT j.submitted_at FROM jobs j WHERE j.service_id = s.id AND j.state = 'pending' "
            f"AND j.not_before IS NULL ORDER BY j.order_key LIMIT {HEAD}"
        )
        self._oldest = (
            f"SELECT s.id, (SELECT min(h.submitted_at) FROM ({head}) AS h) AS since FROM services s"
            if database.is_sqlite
            else "SELECT s.id, o.since FROM services s CROSS JOIN LATERAL "
            f"(SELECT min(h.submitted_at) AS since FROM ({head}) AS h) AS o"
        )

    def subjects(self, tenant_id: str | None = None) -> Sequence[Subject]:
        wanted = sa.select(services.c.id, services.c.tenant_id, services.c.name, services.c.state)
        if tenant_id is not None:
            wanted = wanted.where(services.c.tenant_id == tenant_id)
        with self._db.read() as connection:
            return [Subject(**row._mapping) for row in connection.execute(wanted)]

    def spans(self, *, step_s: int, since: int, until: int) -> Sequence[Span]:
        return self._series.of_all(step_s=step_s, since=since, until=until)

    def oldest_s(self, tenant_id: str | None = None) -> Mapping[str, float]:
        mine, bound = ("", {}) if tenant_id is None else (" WHERE s.tenant_id = :tenant", {"tenant": tenant_id})
        with self._db.read() as connection:
            found = connection.execute(sa.text(self._oldest + mine), bound)
            rows = [row for row in found if row.since is not None]
            now = self._db.now_s(connection) if rows else 0.0
        return {row.id: max(0.0, now - row.since) for row in rows}

    def load_failures(self) -> Mapping[str, int]:
        most = sa.func.max(replicas.c.load_failures)
        query = (
            sa.select(replicas.c.service_id, most.label("n"))
            .where(replicas.c.load_failures > 0)
            .group_by(replicas.c.service_id)
        )
        with self._db.read() as connection:
            return {row.service_id: row.n for row in connection.execute(query)}

    def moves(self, *, since: float) -> Mapping[str, Sequence[tuple[float, str, str]]]:
        """By their ids, which hold the time: there is no index on the time itself."""
        first = f"{max(0, int((since - MINUTE_S) * 1000)):012x}"
        query = sa.select(service_events).where(service_events.c.id >= first, service_events.c.at >= since)
        found: dict[str, list[tuple[float, str, str]]] = defaultdict(list)
        with self._db.read() as connection:
            for row in connection.execute(query.order_by(service_events.c.at, service_events.c.id)):
                if row.from_state != row.to_state:
                    found[row.service_id].append((row.at, row.from_state, row.to_state))
        return found

    def budgets_used(self) -> Mapping[tuple[str, str], float]:
        return self._spent()

    def log_entries(self, service_id: str, *, level: str, keyword: str, since: float, until: float) -> int:
        asked = Question(
            service_id=service_id, level=Level(level), since=since, until=until, terms=terms(keyword), limit=1
        )
        return sum(count for _, _, count in self._logs.counts(asked, step_s=MINUTE_S))
