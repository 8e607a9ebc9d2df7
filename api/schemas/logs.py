"""Log entries on the wire: what is asked of them, and how they are shown."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import marshmallow as ma
import orjson
from marshmallow import fields, validate

from api.schemas.common import A_TIME, AN_ID, ID_PATTERN, PageIn, Text, id_in
from inference import clock
from inference.clock import ISO_FORM
from inference.errors import InvalidField
from inference.logs.analyse import Change, Side
from inference.logs.model import NAMES, Analysis, Entry, Group, Level

CURSOR = "[1-9][0-9]{0,18}"
FORMATS = ("jsonl", "csv")
COLUMNS = ("timestamp", "level", "event", "service_id", "task_id", "trace_id", "role", "reason", "fields")
_FIRST = frozenset({"timestamp", "level", "event", "service_id", "task_id", "trace_id", "id"})

ENTRY_EXAMPLE = {
    "id": "7118222831321088007",
    "timestamp": A_TIME,
    "level": "error",
    "event": "job_failed",
    "service_id": AN_ID,
    "task_id": AN_ID,
    "role": "engine",
    "error_code": "engine_failed",
    "reason": "RuntimeError: the gradient exploded",
}
_GROUP_EXAMPLE = {
    "fingerprint": "5f1c08a9d2b34e67",
    "level": "error",
    "count": 41,
    "first_at": A_TIME,
    "last_at": "2026-11-20T07:12:09.000000Z",
    "message": "job_failed: RuntimeError: the gradient exploded",
    "is_new": True,
}
ANALYSIS_EXAMPLE = {
    "from": A_TIME,
    "to": "2026-11-20T07:30:00.123456Z",
    "step_s": 60,
    "counts": {"info": 812, "error": 41},
    "buckets": [{"at": "2026-11-20T06:30:00.000000Z", "counts": {"info": 14, "error": 3}}],
    "groups": [_GROUP_EXAMPLE],
    "top_events": [{"event": "job_failed", "count": 41}],
}


def _time_in(description: str, name: str) -> fields.String:
    metadata = {"description": description, "pattern": f"^{ISO_FORM}$"}
    return fields.String(load_default=None, data_key=name, metadata=metadata)


def _level() -> Text:
    known = ", ".join(level.value for level in Level)
    metadata = {"description": f"This level and all graver ones: {known}", "example": "warning"}
    return Text(load_default=None, metadata=metadata | {"enum": [level.value for level in Level]})


def _keyword() -> Text:
    description = (
        "Words that an entry must have, in any order; the last letters may be left out; in quotes side by side"
    )
    return Text(load_default=None, metadata={"description": description, "example": "gradient explo"})


class _Filter(ma.Schema):
    level = _level()
    from_ = _time_in("ISO 8601; at or after", "from")
    to = _time_in("ISO 8601; before", "to")
    keyword = _keyword()
    task_id = id_in("Only of this task", load_default=None)


class LogsQuery(_Filter, PageIn):
    """Filters of entries."""

    cursor = fields.String(
        load_default=None, metadata={"description": "`next` of the page before", "pattern": f"^{CURSOR}$"}
    )


class SystemLogsQuery(LogsQuery):
    """The same, of every part of the system."""

    service_id = id_in("Only of this service", load_default=None)


class LogsExport(_Filter):
    """What to export."""

    format = fields.String(
        load_default=FORMATS[0],
        validate=validate.OneOf(FORMATS, error="It must be jsonl or csv."),
        metadata={"description": "jsonl, a JSON object a line, or csv, a table"},
    )


class SystemLogsExport(LogsExport):
    """The same, of every part of the system."""

    service_id = id_in("Only of this service", load_default=None)


class TailQuery(ma.Schema):
    """Which of the entries that come."""

    level = _level()
    keyword = _keyword()
    task_id = id_in("Only of this task", load_default=None)


class AnalysisQuery(ma.Schema):
    """The range, an hour up to now unless it is given."""

    level = _level()
    from_ = _time_in("ISO 8601; an hour before `to` without it", "from")
    to = _time_in("ISO 8601; now without it", "to")
    keyword = _keyword()
    around = _time_in("ISO 8601; compares before and after this moment, instead of the last deployment", "around")


class SystemAnalysisQuery(AnalysisQuery):
    """The same, of every part of the system."""

    service_id = id_in("Only of this service", load_default=None)


class EntryShown(ma.Schema):
    """One entry. Beside these it has whatever else was logged with it."""

    class Meta:
        unknown = ma.INCLUDE

    id = fields.String(metadata={"description": "Rises with the time", "pattern": f"^{CURSOR}$"})
    timestamp = fields.String(metadata={"format": "date-time", "example": A_TIME})
    level = fields.String(validate=validate.OneOf([level.value for level in Level]))
    event = fields.String(metadata={"description": "What happened", "example": "job_failed"})
    service_id = fields.String(metadata={"pattern": ID_PATTERN})
    task_id = fields.String(metadata={"example": AN_ID})
    trace_id = fields.String()
    role = fields.String(metadata={"description": "Which process: api, live, control, node, worker, engine"})


class LogPage(ma.Schema):
    logs = fields.List(fields.Nested(EntryShown()), metadata={"description": "The newest first"})
    next = fields.String(metadata={"description": "Cursor of the next page; absent on the last"})


class GroupShown(ma.Schema):
    fingerprint = fields.String(metadata={"description": "The same for messages that differ in numbers and names only"})
    level = fields.String()
    count = fields.Integer()
    first_at = fields.String(metadata={"format": "date-time", "description": "In the range"})
    last_at = fields.String(metadata={"format": "date-time"})
    message = fields.String(metadata={"description": "Of the newest one"})
    is_new = fields.Boolean(metadata={"description": "Nothing that is kept from before the range tells of it"})


class BucketShown(ma.Schema):
    at = fields.String(metadata={"format": "date-time", "description": "When the step begins"})
    counts = fields.Dict(keys=fields.String(), values=fields.Integer(), metadata={"description": "By level"})


class EventCount(ma.Schema):
    event = fields.String()
    count = fields.Integer()


class SideShown(ma.Schema):
    from_ = fields.String(data_key="from", metadata={"format": "date-time"})
    to = fields.String(metadata={"format": "date-time"})
    per_hour = fields.Dict(keys=fields.String(), values=fields.Float(), metadata={"description": "Entries by level"})


class ChangeShown(ma.Schema):
    at = fields.String(metadata={"format": "date-time", "description": "The deployment, or `around`"})
    before = fields.Nested(SideShown())
    after = fields.Nested(SideShown())
    appeared = fields.List(fields.Nested(GroupShown()), metadata={"description": "Trouble that was not there before"})
    ended = fields.List(fields.Nested(GroupShown()), metadata={"description": "Trouble that is not there any more"})


class AnalysisShown(ma.Schema):
    """`groups`: warnings and worse, the most frequent first. `deployment`: absent when none is known."""

    from_ = fields.String(data_key="from", metadata={"format": "date-time"})
    to = fields.String(metadata={"format": "date-time"})
    step_s = fields.Integer()
    counts = fields.Dict(keys=fields.String(), values=fields.Integer(), metadata={"description": "By level"})
    buckets = fields.List(fields.Nested(BucketShown()))
    groups = fields.List(fields.Nested(GroupShown()))
    top_events = fields.List(fields.Nested(EventCount()))
    deployment = fields.Nested(ChangeShown())


def before_id(cursor: str | None) -> int | None:
    """The id that a cursor stands for. Raises InvalidField for a text that `next` never was."""
    if cursor is None:
        return None
    if not re.fullmatch(CURSOR, cursor) or int(cursor) >= 1 << 63:
        raise InvalidField("The query parameter `cursor` must be a `next` from an earlier answer.", field="cursor")
    return int(cursor)


def shown(entry: Entry) -> dict[str, Any]:
    """Flat, as it was logged; what it does not have is absent."""
    own = {
        "id": str(entry.id),
        "timestamp": clock.iso(entry.at),
        "level": NAMES.get(entry.level, str(entry.level)),
        "event": entry.event,
        "service_id": entry.service_id,
        "task_id": entry.task_id,
        "trace_id": entry.trace_id,
    }
    rest = {name: value for name, value in entry.fields.items() if name not in _FIRST}
    return {name: value for name, value in own.items() if value is not None} | rest


def event(entry: Entry) -> bytes:
    """As a server-sent event."""
    return b"id: %d\nevent: log\ndata: %s\n\n" % (entry.id, orjson.dumps(shown(entry)))


def cells(entry: Entry) -> Sequence[object]:
    """A row of the table; what has no column of its own is in the last one."""
    flat = shown(entry)
    rest = {name: value for name, value in flat.items() if name not in COLUMNS}
    return [*(flat.get(name) for name in COLUMNS[:-1]), _text(rest)]


def analysis_shown(found: Analysis, change: Change | None) -> dict[str, Any]:
    """As AnalysisShown has it, by the names of Python."""
    body: dict[str, Any] = {
        "from_": clock.iso(found.since),
        "to": clock.iso(found.until),
        "step_s": found.step_s,
        "counts": dict(found.counts),
        "buckets": [{"at": clock.iso(bucket.at), "counts": dict(bucket.counts)} for bucket in found.buckets],
        "groups": [_group(group) for group in found.groups],
        "top_events": [{"event": event, "count": count} for event, count in found.top],
    }
    if change is not None:
        body["deployment"] = {
            "at": clock.iso(change.at),
            "before": _side(change.before),
            "after": _side(change.after),
            "appeared": [_group(group) for group in change.appeared],
            "ended": [_group(group) for group in change.ended],
        }
    return body


def _side(side: Side) -> dict[str, Any]:
    return {"from_": clock.iso(side.since), "to": clock.iso(side.until), "per_hour": dict(side.per_hour)}


def _group(group: Group) -> dict[str, Any]:
    return {
        "fingerprint": group.fingerprint,
        "level": NAMES.get(group.level, str(group.level)),
        "count": group.count,
        "first_at": clock.iso(group.first_at),
        "last_at": clock.iso(group.last_at),
        "message": group.message,
        "is_new": group.is_new,
    }


def _text(rest: Mapping[str, Any]) -> str:
    return orjson.dumps(rest).decode() if rest else ""
