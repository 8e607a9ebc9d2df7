"""flask-smorest's Blueprint, with our parser and with types."""

import re
from collections.abc import Callable
from typing import Any, TypeVar

import flask_smorest  # type: ignore[import-untyped]

from api.body import StrictParser
from inference.ids import FORM

View = TypeVar("View", bound=Callable[..., Any])

_IN_PATH = re.compile(r"<(\w+_id)>")


class Blueprint(flask_smorest.Blueprint):  # type: ignore[misc]  # it has no types
    """Pass schema instances, never classes: a class is built anew on every request."""

    ARGUMENTS_PARSER = StrictParser()

    def route(self, rule: str, **options: Any) -> Callable[[View], View]:
        ids = [_id_in_path(name) for name in _IN_PATH.findall(rule)]
        decorate: Callable[[View], View] = super().route(rule, parameters=ids, **options)
        return decorate

    def arguments(self, schema: Any, **options: Any) -> Callable[[View], View]:
        decorate: Callable[[View], View] = super().arguments(schema, **options)
        return decorate

    def response(self, status_code: int, schema: Any = None, **options: Any) -> Callable[[View], View]:
        decorate: Callable[[View], View] = super().response(status_code, schema, **options)
        return decorate

    def alt_response(self, status_code: int, **options: Any) -> Callable[[View], View]:
        decorate: Callable[[View], View] = super().alt_response(status_code, **options)
        return decorate

    @staticmethod
    def doc(**options: Any) -> Callable[[View], View]:
        decorate: Callable[[View], View] = flask_smorest.Blueprint.doc(**options)
        return decorate


def _id_in_path(name: str) -> dict[str, Any]:
    """How the documentation shows an id in a path: a text of another form is never the id of anything."""
    return {"in": "path", "name": name, "required": True, "schema": {"type": "string", "pattern": f"^{FORM}$"}}
