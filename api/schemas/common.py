"""Fields and schemas that every part of the API uses."""

import re
from typing import Any

import marshmallow as ma
from marshmallow import fields, validate

from api.paging import DEFAULT_LIMIT, MAX_LIMIT
from inference.ids import FORM

AN_ID = "019a9f3c5b7e7c1e8f1d2a3b4c5d6e7f"
ANOTHER_ID = "019a9f3c5b7e7c1e8f1d2a3b4c5d6e80"
A_TIME = "2026-11-20T06:30:00.123456Z"
ID_PATTERN = f"^{FORM}$"

_DIGITS = re.compile("-?[0-9]{1,18}")


class WholeNumber(fields.Integer):
    """An integer in a JSON body: no text, no boolean, no fraction."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> int:
        if type(value) is not int:
            raise self.make_error("invalid")
        return super()._deserialize(value, attr, data, **kwargs)


class Flag(fields.Boolean):
    """true or false in a JSON body: no text, no number."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> bool:
        if not isinstance(value, bool):
            raise self.make_error("invalid", input=value)
        return value


class QueryNumber(fields.Integer):
    """A whole number in a query, in plain digits: Python's reading of `1_0` or of other scripts is nobody's wish."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> int:
        if not isinstance(value, str) or not _DIGITS.fullmatch(value):
            raise self.make_error("invalid")
        return super()._deserialize(value, attr, data, **kwargs)


class Text(fields.String):
    """A text, without the NUL character that databases refuse.

    `pattern` and the like in `metadata` are for the documentation: the core refuses, in its own words.
    """

    def __init__(self, *, metadata: dict[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(metadata={"pattern": "^[^\\u0000]*$", **(metadata or {})}, **kwargs)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        text = super()._deserialize(value, attr, data, **kwargs)
        if text is not None and "\0" in text:
            raise ma.ValidationError("The NUL character is not accepted.")
        return text


class EmptyIn(ma.Schema):
    """Calls that need no body accept none, or `{}`."""


class ErrorSchema(ma.Schema):
    """Every refusal."""

    code = fields.String(
        required=True, metadata={"description": "Stable; see docs/errors.md", "example": "wrong_state"}
    )
    message = fields.String(required=True, metadata={"description": "One sentence for people"})
    details = fields.Dict(required=True, metadata={"description": "Fields that belong to the code"})


class PageIn(ma.Schema):
    """What every list accepts."""

    limit = QueryNumber(
        load_default=DEFAULT_LIMIT,
        validate=validate.Range(1, MAX_LIMIT, error="It must be from 1 to 1000."),
        metadata={"description": "How many to show"},
    )
    cursor = fields.String(
        load_default=None, metadata={"description": "`next` of the page before", "pattern": ID_PATTERN}
    )


def next_field() -> fields.String:
    return fields.String(
        metadata={"description": "Cursor of the next page; absent on the last", "example": AN_ID, "pattern": ID_PATTERN}
    )


def time_field(description: str, *, nullable: bool = True) -> fields.String:
    return fields.String(
        allow_none=nullable, metadata={"description": description, "format": "date-time", "example": A_TIME}
    )


def id_field(description: str) -> fields.String:
    return fields.String(metadata={"description": description, "example": AN_ID, "pattern": ID_PATTERN})


class FallbackShown(ma.Schema):
    """The service that took what was sent to one without room."""

    service_id = id_field("The service that answers")


class AnsweredBy(FallbackShown):
    """The same, of a task."""

    model_version = fields.String(allow_none=True, metadata={"description": "Null until it has run"})


def id_in(description: str, **options: Any) -> fields.String:
    """The id of another thing, in a body or a query. One of another form is the id of nothing, and answered so."""
    return fields.String(metadata={"description": description, "example": AN_ID, "pattern": ID_PATTERN}, **options)
