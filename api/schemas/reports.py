"""Reports and their schedules on the wire."""

from collections.abc import Iterable
from typing import Any

import marshmallow as ma
from marshmallow import fields, validate

from api.schemas.common import A_TIME, AN_ID, Text, id_field, next_field, time_field
from inference import clock
from inference.clock import ISO_FORM
from inference.reports.ask import ADDRESS, TIME_OF_DAY
from inference.reports.model import LANGUAGES, Every, Format, Report, ReportState, Schedule

REPORT_IN_EXAMPLE = {"format": "html", "from": "2026-11-19", "to": "2026-11-20", "language": "en"}
SCHEDULE_IN_EXAMPLE = {
    "every": "week",
    "at": "06:00",
    "timezone": "Europe/Paris",
    "format": "pdf",
    "mail_to": ["ops@example.org"],
}
ZONE_CHARS = 64
REPORT_EXAMPLE = {
    "report_id": AN_ID,
    "status": "completed",
    "format": "pdf",
    "language": "en",
    "timezone": "UTC",
    "service_id": AN_ID,
    "schedule_id": None,
    "from": "2026-11-19T00:00:00.000000Z",
    "to": "2026-11-20T00:00:00.000000Z",
    "created_at": "2026-11-20T06:00:00.120000Z",
    "completed_at": "2026-11-20T06:00:02.310000Z",
    "size_bytes": 43_210,
    "summary": "1,284,310 tasks completed, 14.9 a second on average.",
}


def _one_of(kinds: Iterable[str]) -> validate.OneOf:
    return validate.OneOf(list(kinds), error="It must be one of {choices}.")


def _format() -> fields.String:
    return fields.String(load_default="html", validate=_one_of(one.value for one in Format))


def _language() -> fields.String:
    return fields.String(load_default="en", validate=_one_of(LANGUAGES), metadata={"description": "Of the texts"})


def _timezone() -> Text:
    return Text(
        load_default="UTC",
        validate=validate.Length(1, ZONE_CHARS, error="It must be the name of a time zone."),
        metadata={"description": "In which times are told, and days begin", "example": "Europe/Paris"},
    )


class ReportIn(ma.Schema):
    """The last 24 hours without a range."""

    format = _format()
    from_ = fields.String(
        load_default=None,
        allow_none=True,
        data_key="from",
        metadata={"description": "First moment; a day before `to` without it", "pattern": f"^{ISO_FORM}$"},
    )
    to = fields.String(
        load_default=None,
        allow_none=True,
        metadata={"description": "Until before this moment; now without it", "pattern": f"^{ISO_FORM}$"},
    )
    language = _language()
    timezone = _timezone()


class ScheduleIn(ma.Schema):
    """Each report covers the day, or the Monday to Sunday, before."""

    every = fields.String(required=True, validate=_one_of(one.value for one in Every))
    at = fields.String(
        load_default="06:00",
        metadata={"description": "Time of day, in `timezone`; weekly ones on Mondays", "pattern": f"^{TIME_OF_DAY}$"},
    )
    timezone = _timezone()
    format = _format()
    language = _language()
    mail_to = fields.List(
        Text(metadata={"pattern": f"^{ADDRESS}$"}),
        load_default=list,
        metadata={"description": "Addresses that get the file", "maxItems": 20, "example": ["ops@example.org"]},
    )
    post_to = Text(
        load_default=None,
        allow_none=True,
        validate=validate.Length(1, 2_000, error="It must be a URL of at most 2000 characters."),
        metadata={"description": "A webhook, signed as those of tasks are", "example": "https://example.org/hook"},
    )


class ReportError(ma.Schema):
    code = fields.String()
    message = fields.String()


class ReportShown(ma.Schema):
    """`error` is there when it failed, `summary` and `size_bytes` when it is completed."""

    report_id = id_field("The report")
    status = fields.String(validate=_one_of(one.value for one in ReportState))
    format = fields.String(validate=_one_of(one.value for one in Format))
    language = fields.String()
    timezone = fields.String()
    service_id = fields.String(allow_none=True, metadata={"description": "Null: of the whole tenant"})
    schedule_id = fields.String(allow_none=True, metadata={"description": "Which asked for it; null: a person"})
    from_ = fields.String(
        data_key="from", metadata={"description": "First moment", "format": "date-time", "example": A_TIME}
    )
    to = time_field("Until before this", nullable=False)
    created_at = time_field("When it was asked for", nullable=False)
    completed_at = time_field("When it was over")
    size_bytes = fields.Integer(metadata={"description": "Of the file"})
    summary = fields.String(metadata={"description": "Its first paragraph"})
    error = fields.Nested(ReportError())
    not_told = fields.String(metadata={"description": "Why it could not be mailed or posted"})


class ReportAccepted(ma.Schema):
    report_id = id_field("The report")
    status = fields.String(validate=_one_of(one.value for one in ReportState))


class ReportPage(ma.Schema):
    reports = fields.List(fields.Nested(ReportShown()))
    next = next_field()


class ScheduleShown(ma.Schema):
    schedule_id = id_field("The schedule")
    service_id = fields.String(allow_none=True, metadata={"description": "Null: of the whole tenant"})
    every = fields.String()
    at = fields.String()
    timezone = fields.String()
    format = fields.String()
    language = fields.String()
    mail_to = fields.List(fields.String())
    post_to = fields.String(allow_none=True)
    next_at = time_field("When it is due next", nullable=False)
    created_at = time_field("When it was put up", nullable=False)


class SchedulesShown(ma.Schema):
    schedules = fields.List(fields.Nested(ScheduleShown()))


def report(one: Report) -> dict[str, Any]:
    """As `ReportShown`."""
    shown: dict[str, Any] = {
        "report_id": one.id,
        "status": one.state.value,
        "format": one.format.value,
        "language": one.language,
        "timezone": one.timezone,
        "service_id": one.service_id or None,
        "schedule_id": one.schedule_id,
        "from_": clock.iso(one.since),
        "to": clock.iso(one.until),
        "created_at": clock.iso(one.created_at),
        "completed_at": clock.iso(one.ended_at),
    }
    if one.state is ReportState.COMPLETED:
        shown |= {"size_bytes": one.size_bytes, "summary": one.summary}
    if one.state is ReportState.FAILED:
        shown["error"] = {"code": one.error_code, "message": one.error_message}
    if one.tell_note is not None:
        shown["not_told"] = one.tell_note
    return shown


def schedule(one: Schedule) -> dict[str, Any]:
    """As `ScheduleShown`."""
    return {
        "schedule_id": one.id,
        "service_id": one.service_id or None,
        "every": one.every.value,
        "at": one.at,
        "timezone": one.timezone,
        "format": one.format.value,
        "language": one.language,
        "mail_to": list(one.mail_to),
        "post_to": one.post_to or None,
        "next_at": clock.iso(one.next_at),
        "created_at": clock.iso(one.created_at),
    }
