"""What a log entry is once it is kept, and what may be asked of many."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from inference import clock
from inference.logs.fingerprint import fingerprint, message
from inference.logs.words import marks, words
from inference.telemetry.log_queue import LEVELS

EPOCH_S = 1_577_836_800
"""2020: ids of entries count from there."""
TICKS = 4096
"""How many ids a microsecond has."""
LAST_ID = (1 << 63) - TICKS
MOST_FIELD_CHARS, MOST_FIELDS_CHARS = 8_000, 16_000
_OWN = frozenset({"timestamp", "level", "event", "service_id", "task_id", "job_id", "trace_id"})


class Level(StrEnum):
    """From the least to the gravest."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"

    @property
    def number(self) -> int:
        return LEVELS[self.value.upper()]


NAMES = {level.number: level.value for level in Level}


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """`id` rises with the time of the entry, to the microsecond. `fields`: all that it says beside what stands here."""

    id: int
    level: int
    event: str
    service_id: str | None = None
    task_id: str | None = None
    trace_id: str | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)

    @property
    def at(self) -> float:
        return at_of(self.id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """An entry as the store takes it. `fingerprint`: only of warnings and worse."""

    id: int
    level: int
    event: str
    service_id: str | None
    task_id: str | None
    trace_id: str | None
    fingerprint: str | None
    fields: str
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Which entries, the newest first. None, and empty, is any. Times: `since` <= t < `until`.

    `level`: that one and all graver ones. `before_id`: those older than this one.
    """

    service_id: str | None = None
    level: Level = Level.DEBUG
    since: float | None = None
    until: float | None = None
    terms: Sequence[Sequence[str]] = ()
    task_id: str | None = None
    before_id: int | None = None
    limit: int = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Entries that tell of the same trouble: `message` is one of theirs. `is_new`: none of it is older than asked."""

    fingerprint: str
    level: int
    count: int
    first_at: float
    last_at: float
    message: str
    is_new: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """How many entries of each level there were in the span that begins at `at`."""

    at: float
    counts: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Analysis:
    """Times are epoch seconds. `top`: the most frequent events, whatever their level."""

    since: float
    until: float
    step_s: int
    counts: Mapping[str, int]
    buckets: Sequence[Bucket]
    groups: Sequence[Group]
    top: Sequence[tuple[str, int]]


def id_at(at: float) -> int:
    """The least id of an entry of this moment; 0 for any before 2020, and the last of all for any after 2091."""
    return min(max(0, int((at - EPOCH_S) * 1_000_000)) * TICKS, LAST_ID)


def at_of(entry_id: int) -> float:
    return EPOCH_S + (entry_id // TICKS) / 1_000_000


def row(fields: Mapping[str, Any], *, tick: int) -> Row:
    """What the store takes of an entry as it was logged. `tick` tells entries of one microsecond apart."""
    level = LEVELS.get(str(fields.get("level", "")).upper(), Level.INFO.number)
    event = _plain(str(fields.get("event", "")))[:MOST_FIELD_CHARS]
    rest = {name: value for name, value in fields.items() if name not in _OWN}
    text = _text(rest)
    said = [event, *_values(rest)]
    service_id = _id(fields.get("service_id"))
    return Row(
        id=id_at(_at(fields)) + tick % TICKS,
        level=level,
        event=event,
        service_id=service_id,
        task_id=_id(fields.get("task_id") or fields.get("job_id")),
        trace_id=_id(fields.get("trace_id")),
        fingerprint=fingerprint(event, rest) if level >= Level.WARNING.number else None,
        fields=text,
        words=" ".join([*marks(service_id, level), words(said)]),
    )


def line(entry: Entry) -> str:
    """One line for people."""
    return message(entry.event, entry.fields)


def _at(fields: Mapping[str, Any]) -> float:
    try:
        return clock.from_iso(str(fields["timestamp"]))
    except (KeyError, ValueError, OverflowError):
        return clock.epoch_s()


def _id(value: Any) -> str | None:
    text = _plain(str(value or ""))[:32]
    return text or None


def _values(fields: Mapping[str, Any]) -> list[str]:
    return [str(value) for value in fields.values() if value not in (None, "")]


def _plain(text: str) -> str:
    """Without what PostgreSQL refuses."""
    return text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()


def _text(fields: Mapping[str, Any]) -> str:
    """The fields as JSON, cut where they are very long."""
    short = {name: _cut(value) for name, value in fields.items()}
    text = json.dumps(short, default=str, ensure_ascii=False)
    if len(text) > MOST_FIELDS_CHARS:
        text = json.dumps({name: str(value)[:200] for name, value in list(short.items())[:40]}, ensure_ascii=False)
    return _plain(text)


def _cut(value: Any) -> Any:
    if isinstance(value, str) and len(value) > MOST_FIELD_CHARS:
        # Of a traceback the end says most.
        return value[:1_000] + " [...] " + value[-(MOST_FIELD_CHARS - 1_010) :]
    return value
