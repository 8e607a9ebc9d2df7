"""What the OpenAPI document says of refusals, and of views that flask-smorest does not parse for."""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, TypeVar

import marshmallow as ma

from api.blueprint import Blueprint
from api.errors import JSON
from api.refusals import refusals
from inference import errors
from inference.errors import PenstockError

View = TypeVar("View", bound=Callable[..., Any])
Parameter: TypeAlias = tuple[str, dict[str, Any], str]
"""Name, JSON Schema, description."""

READING = (
    errors.MalformedJson,
    errors.JsonTooDeep,
    errors.DuplicateKey,
    errors.UnsupportedMediaType,
    errors.UnknownField,
    errors.InvalidField,
)


def refuses(*kinds: type[PenstockError]) -> Callable[[View], View]:
    """Documents how a view may refuse."""
    return Blueprint.doc(responses=refusals(*kinds))


def by_hand(
    *,
    answers: dict[int, tuple[str, type[ma.Schema], Any]],
    kinds: Sequence[type[PenstockError]],
    body: dict[str, tuple[type[ma.Schema] | dict[str, Any], Any]] | None = None,
    headers: Sequence[Parameter] = (),
    query: Sequence[Parameter] = (),
) -> Callable[[View], View]:
    """Documents a view that reads its request and writes its response by itself.

    `answers`: status -> (description, schema, example). `body`: media type -> (schema or JSON Schema, example).
    """
    doc: dict[str, Any] = {"responses": refusals(*kinds)}
    for status, (description, schema, example) in answers.items():
        content = {JSON: {"schema": schema(), "example": example}}
        doc["responses"][str(status)] = {"description": description, "content": content}
    if body is not None:
        doc["requestBody"] = {"required": True, "content": {kind: _media(*form) for kind, form in body.items()}}
    parameters = [_parameter("header", *header) for header in headers]
    parameters += [_parameter("query", *asked) for asked in query]
    if parameters:
        doc["parameters"] = parameters
    return Blueprint.doc(**doc)


def _media(schema: type[ma.Schema] | dict[str, Any], example: Any) -> dict[str, Any]:
    return {"schema": schema if isinstance(schema, dict) else schema(), "example": example}


def _parameter(place: str, name: str, schema: dict[str, Any], description: str) -> dict[str, Any]:
    return {"name": name, "in": place, "required": False, "schema": schema, "description": description}
