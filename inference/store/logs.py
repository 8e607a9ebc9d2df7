"""Rows of log entries, and the index of their words."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from inference.access.model import Scope
from inference.logs.fingerprint import message
from inference.logs.model import EPOCH_S, TICKS, Entry, Group, Level, Question, Row, at_of, id_at
from inference.logs.words import marks
from inference.store import log_counts
from inference.store.database import Database
from inference.store.scoped import services_in
from inference.store.tables import service_events, services
from inference.store.tables_logs import ERROR, WARNING

COLUMNS = {
    "id": "bigint",
    "level": "int",
    "event": "text",
    "service_id": "text",
    "task_id": "text",
    "trace_id": "text",
    "fingerprint": "text",
    "fields": "text",
    "words": "text",
}
SHOWN = "e.id, e.level, e.event, e.service_id, e.task_id, e.trace_id, e.fields"
DEPLOYING = "deploying"
MATCHES = "e.words @@ to_tsquery('simple', :words)"
FEW = 3_000


class SqlLogs:
    """`LogStore` and `Deploys` on SQLite and PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._db = database
        names = ", ".join(COLUMNS)
        values = ", ".join(
            "to_tsvector('simple', r.words)" if name == "words" and not database.is_sqlite else f"r.{name}"
            for name in COLUMNS
        )
        self._put = sa.text(
            f"INSERT INTO log_entries ({names}) SELECT {values} FROM {database.rows_from('r', COLUMNS)} "
            "WHERE true ON CONFLICT (id) DO NOTHING RETURNING id"
        )
        self._count = log_counts.add_statement(database)

    def put(self, rows: Sequence[Row]) -> None:
        """Does not wait for the disk: a machine that loses its power may lose the entries of its last second."""
        if not rows:
            return
        listed = [tuple(getattr(row, name) for name in COLUMNS) for row in rows]
        bound = self._db.rows("r", COLUMNS, listed)

        def work() -> None:
            with self._db.write(is_urgent=True) as connection:
                if not self._db.is_sqlite:
                    connection.exec_driver_sql("SET LOCAL synchronous_commit = off")
                new = set(connection.execute(self._put, bound).scalars())
                counts = log_counts.added({row.id: row for row in reversed(rows) if row.id in new}.values())
                if counts:
                    connection.execute(self._count, self._db.rows("r", log_counts.COLUMNS, counts))

        self._db.again(work, also_lost=True)

    def find(self, asked: Question) -> Sequence[Entry]:
        source, where, bound = self._where(asked)
        if asked.terms and not self._db.is_sqlite:
            where, bound = self._by_words(source, where, bound)
        query = sa.text(f"SELECT {SHOWN} FROM {source}{where} ORDER BY {self._order(asked)} DESC LIMIT :limit")
        with self._db.read() as connection:
            return [_entry(row) for row in connection.execute(query, {**bound, "limit": asked.limit})]

    def _by_words(self, source: str, where: str, bound: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """PostgreSQL cannot know how frequent a word is, and would read all entries backwards for a rare one.

        So few are taken through the index of words, to be sorted; and what is frequent is soon met on the way back.
        """
        few = sa.text(f"SELECT e.id FROM {source}{where} LIMIT {FEW}")
        with self._db.read() as connection:
            ids = connection.execute(few, bound).scalars().all()
        if len(ids) < FEW:
            return " WHERE e.id = ANY(:ids)", {"ids": list(ids)}
        return where.replace(MATCHES, f"({MATCHES}) IS TRUE"), bound

    def counts(self, asked: Question, *, step_s: int) -> Sequence[tuple[int, int, int]]:
        within = log_counts.inner(asked, log_counts.LEVELS_S) if step_s % log_counts.LEVELS_S == 0 else None
        if within is None:
            return self._counted(asked, step_s)
        condition, bound = log_counts.where(asked, log_counts.LEVELS_S, within)
        query = sa.text(
            f"SELECT c.at / {step_s} AS step, c.level, sum(c.entries) AS n FROM log_counts c WHERE {condition} "
            "GROUP BY 1, 2"
        )
        found = Counter[tuple[int, int]]()
        with self._db.read() as connection:
            for row in connection.execute(query, bound):
                found[row.step, row.level] += int(row.n)
        for end in log_counts.ends(asked, within):
            for step, level, count in self._counted(end, step_s):
                found[step, level] += count
        return [(step, level, count) for (step, level), count in found.items()]

    def _counted(self, asked: Question, step_s: int) -> Sequence[tuple[int, int, int]]:
        """From the entries themselves."""
        source, where, bound = self._where(asked)
        # In whole numbers on both databases; steps are counted from 1970.
        width = step_s * 1_000_000 * TICKS
        step = f"((e.id + {(EPOCH_S % step_s) * 1_000_000 * TICKS}) / {width})"
        query = sa.text(f"SELECT {step} AS step, e.level, count(*) AS n FROM {source}{where} GROUP BY 1, 2")
        with self._db.read() as connection:
            found = connection.execute(query, bound).all()
        return [(row.step + EPOCH_S // step_s, row.level, row.n) for row in found]

    def top(self, asked: Question, *, limit: int) -> Sequence[tuple[str, int]]:
        within = log_counts.inner(asked, log_counts.EVENTS_S)
        if within is None:
            return self._top(asked, limit)
        condition, bound = log_counts.where(asked, log_counts.EVENTS_S, within)
        query = sa.text(f"SELECT c.event, sum(c.entries) AS n FROM log_counts c WHERE {condition} GROUP BY c.event")
        with self._db.read() as connection:
            found = Counter({row.event: int(row.n) for row in connection.execute(query, bound)})
        for end in log_counts.ends(asked, within):
            found.update(dict(self._top(end, None)))
        return sorted(found.items(), key=lambda one: (-one[1], one[0]))[:limit]

    def _top(self, asked: Question, limit: int | None) -> Sequence[tuple[str, int]]:
        """From the entries themselves; None: all events."""
        source, where, bound = self._where(asked)
        event = f"substr(e.event, 1, {log_counts.MOST_EVENT_CHARS})"
        most = "" if limit is None else " ORDER BY n DESC, event LIMIT :limit"
        query = sa.text(f"SELECT {event} AS event, count(*) AS n FROM {source}{where} GROUP BY {event}{most}")
        with self._db.read() as connection:
            return [(row.event, row.n) for row in connection.execute(query, {**bound, "limit": limit})]

    def groups(self, asked: Question, *, limit: int) -> Sequence[Group]:
        if asked.level.number < WARNING:
            asked = replace(asked, level=Level.WARNING)
        source, where, bound = self._where(asked)
        if self._db.is_sqlite and asked.service_id is None and asked.task_id is None and not asked.terms:
            source = "log_entries e INDEXED BY ix_log_entries_trouble"  # which has all that is asked for
        ranked = (
            "SELECT e.fingerprint, max(e.level) AS level, count(*) AS n, min(e.id) AS first_id, max(e.id) AS last_id "
            f"FROM {source}{where} AND e.fingerprint IS NOT NULL GROUP BY e.fingerprint ORDER BY n DESC LIMIT :limit"
        )
        mine = "" if asked.service_id is None else " AND o.service_id = :service"
        query = sa.text(
            f"SELECT g.*, e.event, e.fields, EXISTS (SELECT 1 FROM log_entries o WHERE o.fingerprint = g.fingerprint "
            f"AND o.id < :since_id{mine}) AS was_there FROM ({ranked}) g JOIN log_entries e ON e.id = g.last_id "
            "ORDER BY g.n DESC, g.last_id DESC"
        )
        bound = {"since_id": 0, **bound, "limit": limit}
        with self._db.read() as connection:
            return [
                Group(
                    fingerprint=row.fingerprint,
                    level=row.level,
                    count=row.n,
                    first_at=at_of(row.first_id),
                    last_at=at_of(row.last_id),
                    message=message(row.event, json.loads(row.fields)),
                    is_new=not row.was_there,
                )
                for row in connection.execute(query, bound)
            ]

    def forget(self, *, keep_s: float, keep_rows: int, limit: int) -> int:
        newest = sa.text("SELECT id FROM log_entries ORDER BY id DESC LIMIT 1 OFFSET :rows")
        with self._db.read() as connection:
            beyond = connection.execute(newest, {"rows": keep_rows}).scalar_one_or_none()
            until = max(id_at(self._db.now_s(connection) - keep_s), (beyond or -1) + 1)
        delete = sa.text(
            "DELETE FROM log_entries WHERE id IN "
            "(SELECT id FROM log_entries WHERE id < :until ORDER BY id LIMIT :limit)"
        )
        with self._db.write(is_urgent=True) as connection:
            gone = connection.execute(delete, {"until": until, "limit": limit}).rowcount
            if gone < limit:
                connection.execute(log_counts.FORGET, {"until": int(at_of(until))})
            return gone

    def deployed_at(self, scope: Scope, service_id: str) -> float | None:
        events = service_events.c
        query = (
            sa.select(sa.func.max(events.at))
            .join(services, services.c.id == events.service_id)
            .where(events.service_id == service_id, events.to_state == DEPLOYING, services_in(scope))
        )
        with self._db.read() as connection:
            at = connection.execute(query).scalar_one_or_none()
        return None if at is None else float(at)

    def _order(self, asked: Question) -> str:
        """By the index of words where it is asked: SQLite reads it backwards, and stops at the limit."""
        return "w.rowid" if asked.terms and self._db.is_sqlite else "e.id"

    def _where(self, asked: Question) -> tuple[str, str, dict[str, Any]]:
        """FROM, WHERE and what is bound. Levels stand in the text: only so are partial indexes taken."""
        source, bound = "log_entries e", dict[str, Any]()
        if self._db.is_sqlite and asked.service_id is None and asked.task_id is None and asked.level.number >= ERROR:
            source += " INDEXED BY ix_log_entries_grave"  # SQLite would go through all of them
        parts = list[str]()
        key = self._order(asked)
        if asked.terms:
            kind = marks(asked.service_id, asked.level.number)
            if self._db.is_sqlite:
                source = "log_words w JOIN log_entries e ON e.id = w.rowid"
                parts.append("log_words MATCH :words")
                bound["words"] = _fts5(kind, asked.terms)
            else:
                parts.append(MATCHES)
                bound["words"] = _tsquery(kind, asked.terms)
        if asked.service_id is not None:
            parts.append("e.service_id = :service")
            bound["service"] = asked.service_id
        if asked.task_id is not None:
            parts.append("e.task_id = :task")
            bound["task"] = asked.task_id
        if asked.level is not Level.DEBUG:
            # Those of the partial indexes, too: SQLite takes one only where its condition stands word for word.
            least = {asked.level.number, *(one for one in (WARNING, ERROR) if one < asked.level.number)}
            parts += [f"e.level >= {one}" for one in sorted(least)]
        if asked.since is not None:
            parts.append(f"{key} >= :since_id")
            bound["since_id"] = id_at(asked.since)
        if asked.until is not None:
            parts.append(f"{key} < :until_id")
            bound["until_id"] = id_at(asked.until)
        if asked.before_id is not None:
            parts.append(f"{key} < :before_id")
            bound["before_id"] = asked.before_id
        return source, f" WHERE {' AND '.join(parts or ['true'])}", bound


def _fts5(kind: Sequence[str], terms: Sequence[Sequence[str]]) -> str:
    """Words are letters and digits alone: in quotes there is nothing left that FTS5 could take for its own."""
    return " ".join([*(f'"{mark}"' for mark in kind), *(f'"{" ".join(words)}" *' for words in terms)])


def _tsquery(kind: Sequence[str], terms: Sequence[Sequence[str]]) -> str:
    phrases = (" <-> ".join([*(f"'{word}'" for word in words[:-1]), f"'{words[-1]}':*"]) for words in terms)
    return " & ".join([*(f"'{mark}'" for mark in kind), *(f"({phrase})" for phrase in phrases)])


def _entry(row: "sa.Row[Any]") -> Entry:
    values = dict(row._mapping)
    return Entry(**{**values, "fields": json.loads(values["fields"])})
