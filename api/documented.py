"""What the OpenAPI document says of refusals, and of views that flask-smorest does not parse for."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import marshmallow as ma

from api.blueprint import Blueprint
from api.errors import JSON, status_of
from inference import errors
from inference.errors import PenstockError

View = TypeVar("View", bound=Callable[..., Any])

READING = (errors.MalformedJson, errors.JsonTooDeep, errors.DuplicateKey, errors.UnknownField, errors.InvalidField)


def refusals(*kinds: type[PenstockError]) -> dict[str, Any]:
    """The responses of an operation that may refuse in these ways, grouped by status, with an example each."""
    by_status: dict[int, list[type[PenstockError]]] = {}
    for kind in (*kinds, errors.StoreUnavailable):
        by_status.setdefault(status_of(kind), []).append(kind)
    return {str(status): _refusal(status, kinds) for status, kinds in sorted(by_status.items())}


def _refusal(status: int, kinds: Sequence[type[PenstockError]]) -> dict[str, Any]:
    codes = [kind.code for kind in kinds]
    examples = {code: {"value": {"code": code, "message": f"One sentence on {code}.", "details": {}}} for code in codes}
    answer: dict[str, Any] = {
        "description": " or ".join(f"`{code}`" for code in codes),
        "content": {JSON: {"schema": {"$ref": "#/components/schemas/Error"}, "examples": examples}},
    }
    if status in (429, 503):
        answer["headers"] = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds to wait"}}
    return answer


def refuses(*kinds: type[PenstockError]) -> Callable[[View], View]:
    """Documents how a view may refuse."""
    return Blueprint.doc(responses=refusals(*kinds))


def by_hand(
    *,
    answers: dict[int, tuple[str, type[ma.Schema], Any]],
    kinds: Sequence[type[PenstockError]],
    body: dict[str, tuple[type[ma.Schema] | None, Any]] | None = None,
    headers: Sequence[tuple[str, str]] = (),
    query: Sequence[tuple[str, str, str]] = (),
) -> Callable[[View], View]:
    """Documents a view that reads its request and writes its response by itself.

    `answers`: status -> (description, schema, example). `body`: media type -> (schema or None for bytes, example).
    `headers`: (name, description). `query`: (name, type, description).
    """
    doc: dict[str, Any] = {"responses": refusals(*kinds)}
    for status, (description, schema, example) in answers.items():
        content = {JSON: {"schema": schema(), "example": example}}
        doc["responses"][str(status)] = {"description": description, "content": content}
    if body is not None:
        doc["requestBody"] = {"required": True, "content": {kind: _media(*form) for kind, form in body.items()}}
    parameters = [_parameter(name, "header", "string", text) for name, text in headers]
    parameters += [_parameter(name, "query", kind, text) for name, kind, text in query]
    if parameters:
        doc["parameters"] = parameters
    return Blueprint.doc(**doc)


def _media(schema: type[ma.Schema] | None, example: Any) -> dict[str, Any]:
    if schema is None:
        return {"schema": {"type": "string", "format": "binary"}}
    return {"schema": schema(), "example": example}


def _parameter(name: str, place: str, kind: str, description: str) -> dict[str, Any]:
    return {"name": name, "in": place, "required": False, "schema": {"type": kind}, "description": description}
