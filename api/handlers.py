"""Flask's own refusals and our errors, answered in one form; never a traceback."""

import threading
from typing import Any

import flask_smorest  # type: ignore[import-untyped]
import structlog
from flask import Flask, Response
from werkzeug.exceptions import HTTPException

from api import errors
from api.blueprint import Blueprint
from api.schemas.common import ErrorSchema
from inference.errors import PenstockError
from inference.ids import new_id

log = structlog.get_logger()


class Api(flask_smorest.Api):  # type: ignore[misc]  # it has no types
    """flask-smorest with our error body, on the wire and in the documentation.

    The OpenAPI document is made when somebody asks for it: it is 9 MB, and half of what a start takes.
    """

    ERROR_SCHEMA = ErrorSchema

    def __init__(self, app: Flask) -> None:
        self._undocumented: list[tuple[Blueprint, str, Any]] = []
        self._document = b""
        self._documenting = threading.Lock()
        super().__init__(app)

    def register_blueprint(self, blp: Blueprint, *, parameters: Any = None, **options: Any) -> None:
        """Its views are answered from now on."""
        name: str = options.get("name") or str(blp.name)
        self._app.extensions["flask-smorest"]["blp_name_to_api"][name] = self
        self._app.register_blueprint(blp, **options)
        self._undocumented.append((blp, name, parameters))

    def _openapi_json(self) -> Response:
        with self._documenting:
            if not self._document:
                self._document = self._app.json.dumps(self._documented(), indent=2, sort_keys=False).encode()
        return Response(self._document, content_type=errors.JSON)

    def _documented(self) -> dict[str, Any]:
        for blueprint, name, parameters in self._undocumented:
            blueprint.register_views_in_doc(self, self._app, self.spec, name=name, parameters=parameters)
            self.spec.tag({"name": name, "description": blueprint.description})
        content: dict[str, Any] = self.spec.to_dict()
        _forget_null(content)
        return content

    def _register_error_handlers(self) -> None:
        app: Flask = self._app
        app.register_error_handler(PenstockError, refused)
        app.register_error_handler(HTTPException, _of_flask)
        app.register_error_handler(Exception, _unforeseen)


def _forget_null(document: dict[str, Any]) -> None:
    """A parameter of a query is there or is not: null, marshmallow's default, is nothing that one could send."""
    for operations in document["paths"].values():
        for operation in operations.values():
            for parameter in operation.get("parameters", ()) if isinstance(operation, dict) else ():
                if parameter["in"] == "query" and parameter["schema"].pop("nullable", False):
                    parameter["schema"].pop("default", None)


def to_response(answer: errors.Answer) -> Response:
    return Response(answer.body, answer.status, answer.headers, content_type=errors.JSON)


def refused(error: PenstockError) -> Response:
    """The answer to one of our errors; those that are not the client's fault are logged."""
    answer = errors.answer(error)
    if answer.status >= 500:
        log.warning("request_refused", code=error.code, reason=error.message)
    return to_response(answer)


def _of_flask(error: HTTPException) -> Response:
    if error.code is not None and error.code < 400:
        return Response(status=error.code, headers=error.get_headers())
    response = to_response(errors.of_the_server(error.code or 500))
    for name, value in error.get_headers():
        if name in ("Allow", "Retry-After"):
            response.headers[name] = value
    return response


def _unforeseen(error: Exception) -> Response:
    """The outer edge: logged with an id that the client can quote."""
    error_id = new_id()
    log.error("request_failed", error_id=error_id, exc_info=error)
    return to_response(errors.of_the_server(500, error_id=error_id))
