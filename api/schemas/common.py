"""Fields and schemas that every part of the API uses."""

from typing import Any

import marshmallow as ma
from marshmallow import fields, validate

from api.paging import DEFAULT_LIMIT, MAX_LIMIT

AN_ID = "019a9f3c5b7e7c1e8f1d2a3b4c5d6e7f"
ANOTHER_ID = "019a9f3c5b7e7c1e8f1d2a3b4c5d6e80"
A_TIME = "2026-11-20T06:30:00.123456Z"


class WholeNumber(fields.Integer):
    """An integer in a JSON body: no text, no boolean, no fraction."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> int:
        if type(value) is not int:
            raise self.make_error("invalid")
        return super()._deserialize(value, attr, data, **kwargs)


class Text(fields.String):
    """A text in a JSON body, without the NUL character that databases refuse."""

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

    limit = fields.Integer(
        load_default=DEFAULT_LIMIT,
        validate=validate.Range(1, MAX_LIMIT, error="It must be from 1 to 1000."),
        metadata={"description": "How many to show"},
    )
    cursor = fields.String(load_default=None, metadata={"description": "`next` of the page before"})


def next_field() -> fields.String:
    return fields.String(metadata={"description": "Cursor of the next page; absent on the last", "example": AN_ID})


def time_field(description: str, *, nullable: bool = True) -> fields.String:
    return fields.String(
        allow_none=nullable, metadata={"description": description, "format": "date-time", "example": A_TIME}
    )


def id_field(description: str) -> fields.String:
    return fields.String(metadata={"description": description, "example": AN_ID})
