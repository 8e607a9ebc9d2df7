"""Rows of measured series."""

import json
from collections import Counter
from collections.abc import Sequence
from operator import itemgetter
from typing import Any

import sqlalchemy as sa

from inference.store.database import Database
from inference.store.tables_series import COUNTS, GAUGES, SKETCHES, SUMS, series
from inference.telemetry.percentiles import Sketch
from inference.telemetry.sample import Work
from inference.telemetry.series import Span

MOST_DELETED = 20_000
OF_WORK = frozenset(
    {"completed", "failed", "other", "predictions", "tasks_run", "batches", "latency_s", "run_s", "wait_s"}
)
NOT_AS_THEY_ARE = frozenset({"errors", *SKETCHES})


class SqlSeries:
    """`SeriesStore` on SQLite and PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._db = database
        names = ", ".join(column.name for column in series.columns)
        self._of_service = sa.text(
            f"SELECT {names} FROM series WHERE service_id = :service AND step_s = :step AND at >= :since "
            "AND at < :until ORDER BY at"
        )
        self._of_all = sa.text(f"SELECT {names} FROM series WHERE step_s = :step AND at >= :since AND at < :until")
        marks = ", ".join(f":{column.name}" for column in series.columns)
        changed = [column.name for column in series.columns if not column.primary_key]
        self._put = sa.text(
            f"INSERT INTO series ({names}) VALUES ({marks}) ON CONFLICT (service_id, step_s, at) "
            f"DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in changed)}"
        )
        self._newest = sa.text("SELECT at FROM series WHERE step_s = :step ORDER BY step_s DESC, at DESC LIMIT 1")
        self._first = sa.text("SELECT at FROM series WHERE step_s = :step AND at >= :since ORDER BY step_s, at LIMIT 1")
        self._delete = sa.text(
            "DELETE FROM series WHERE (service_id, step_s, at) IN (SELECT service_id, step_s, at FROM series "
            f"WHERE step_s = :step AND at < :before ORDER BY at LIMIT {MOST_DELETED})"
        )

    def put(self, spans: Sequence[Span]) -> None:
        if not spans:
            return
        rows = [_values(span) for span in spans]
        with self._db.write() as connection:
            connection.execute(self._put, rows)

    def of_service(self, service_id: str, *, step_s: int, since: int, until: int) -> Sequence[Span]:
        bound = {"service": service_id, "step": step_s, "since": since, "until": until}
        with self._db.read() as connection:
            return [_span(row) for row in connection.execute(self._of_service, bound)]

    def of_all(self, *, step_s: int, since: int, until: int) -> Sequence[Span]:
        with self._db.read() as connection:
            found = connection.execute(self._of_all, {"step": step_s, "since": since, "until": until})
            return [_span(row) for row in found]

    def newest(self, step_s: int) -> int | None:
        return self._end(self._newest, {"step": step_s})

    def first(self, step_s: int, *, since: int) -> int | None:
        return self._end(self._first, {"step": step_s, "since": since})

    def _end(self, statement: sa.TextClause, bound: dict[str, int]) -> int | None:
        with self._db.read() as connection:
            at = connection.execute(statement, bound).scalar_one_or_none()
        return None if at is None else int(at)

    def delete(self, *, step_s: int, before: int) -> int:
        with self._db.write() as connection:
            return connection.execute(self._delete, {"step": step_s, "before": before}).rowcount


def _values(span: Span) -> dict[str, Any]:
    work = span.work
    values: dict[str, Any] = {"service_id": span.service_id, "step_s": span.step_s, "at": span.at}
    values |= {name: getattr(work if name in OF_WORK else span, name) for name in (*COUNTS, *SUMS)}
    values |= {name: getattr(span, name) for name in (*GAUGES, "queue_most", "looks", "gpu_source")}
    values["errors"] = json.dumps(work.errors) if work.errors else None
    values["latencies"] = work.latencies.to_bytes() or None
    values["waits"] = work.waits.to_bytes() or None
    return values


_work_names = [column.name for column in series.columns if column.name in OF_WORK]
_span_names = [column.name for column in series.columns if column.name not in OF_WORK | NOT_AS_THEY_ARE]
_places = {column.name: place for place, column in enumerate(series.columns)}
_read_work = itemgetter(*(_places[name] for name in _work_names))
_read_span = itemgetter(*(_places[name] for name in _span_names))
_read_others = itemgetter(*(_places[name] for name in ("errors", "latencies", "waits")))


def _span(row: Any) -> Span:
    """By place and not by name: an answer may be made of ten thousand rows."""
    values = tuple(row)
    errors, latencies, waits = _read_others(values)
    work = Work(
        **dict(zip(_work_names, _read_work(values), strict=True)),
        errors=Counter(json.loads(errors)) if errors else Counter(),
        latencies=Sketch.of_bytes(latencies),
        waits=Sketch.of_bytes(waits),
    )
    return Span(work=work, **dict(zip(_span_names, _read_span(values), strict=True)))
