"""flask-smorest's Blueprint, with our parser and with types."""

from collections.abc import Callable
from typing import Any, TypeVar

import flask_smorest  # type: ignore[import-untyped]

from api.body import StrictParser

View = TypeVar("View", bound=Callable[..., Any])


class Blueprint(flask_smorest.Blueprint):  # type: ignore[misc]  # it has no types
    """Pass schema instances, never classes: a class is built anew on every request."""

    ARGUMENTS_PARSER = StrictParser()

    def route(self, rule: str, **options: Any) -> Callable[[View], View]:
        decorate: Callable[[View], View] = super().route(rule, **options)
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
