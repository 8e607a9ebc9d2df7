"""How many entries were logged, by level and by event, counted as they come: so no analysis reads a million of them.

Written in the transaction of the entries themselves, so both always agree. Spans are wide: what a range has of them
at its ends is counted from the entries.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from inference.logs.model import EPOCH_S, TICKS, Question, Row
from inference.store.database import Database

LEVELS_S, EVENTS_S = 300, 3_600
"""Spans by level, and spans by level and event: there are few levels, and may be many events."""
MOST_EVENT_CHARS = 200
COLUMNS = {"step_s": "int", "at": "bigint", "service_id": "text", "level": "int", "event": "text", "entries": "bigint"}

FORGET = sa.text(
    "DELETE FROM log_counts WHERE "
    + " OR ".join(f"(step_s = {step_s} AND at <= CAST(:until AS bigint) - {step_s})" for step_s in (LEVELS_S, EVENTS_S))
)
"""What was counted before the entries that are kept; a span that is half gone counts all that it had."""


def add_statement(db: Database) -> sa.TextClause:
    """Adds what `added` counted."""
    names = ", ".join(COLUMNS)
    return sa.text(
        f"INSERT INTO log_counts ({names}) SELECT {names} FROM {db.rows_from('r', COLUMNS)} WHERE true "
        "ON CONFLICT (step_s, at, service_id, level, event) "
        "DO UPDATE SET entries = log_counts.entries + excluded.entries"
    )


def added(rows: Iterable[Row]) -> Sequence[tuple[Any, ...]]:
    """Rows of counts for these entries, in an order that all writers have: so none waits for one that waits for it."""
    counts = Counter[tuple[int, int, str, int, str]]()
    for row in rows:
        at, service_id = EPOCH_S + row.id // (1_000_000 * TICKS), row.service_id or ""
        counts[LEVELS_S, at - at % LEVELS_S, service_id, row.level, ""] += 1
        counts[EVENTS_S, at - at % EVENTS_S, service_id, row.level, row.event[:MOST_EVENT_CHARS]] += 1
    return [(*key, count) for key, count in sorted(counts.items())]


def inner(asked: Question, step_s: int) -> tuple[int, int] | None:
    """The whole spans of `step_s` in the range that is asked for; None where there are none, or counts do not tell."""
    if asked.since is None or asked.until is None or asked.terms or asked.task_id is not None:
        return None
    begin, end = math.ceil(asked.since / step_s) * step_s, math.floor(asked.until / step_s) * step_s
    return (begin, end) if begin < end else None


def ends(asked: Question, within: tuple[int, int]) -> Iterable[Question]:
    """What of the range lies before and after its whole spans."""
    if asked.since is not None and asked.since < within[0]:
        yield replace(asked, until=float(within[0]))
    if asked.until is not None and asked.until > within[1]:
        yield replace(asked, since=float(within[1]))


def where(asked: Question, step_s: int, within: tuple[int, int]) -> tuple[str, dict[str, Any]]:
    """The condition for `log_counts c`, and what it binds."""
    text = "c.step_s = :span_s AND c.at >= :begin AND c.at < :end AND c.level >= :least"
    bound: dict[str, Any] = {"span_s": step_s, "begin": within[0], "end": within[1], "least": asked.level.number}
    if asked.service_id is not None:
        text += " AND c.service_id = :service"
        bound["service"] = asked.service_id
    return text, bound
