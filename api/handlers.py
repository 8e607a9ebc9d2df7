"""Flask's own refusals and our errors, answered in one form; never a traceback."""

import flask_smorest  # type: ignore[import-untyped]
import structlog
from flask import Flask, Response
from werkzeug.exceptions import HTTPException

from api import errors
from api.schemas.common import ErrorSchema
from inference.errors import PenstockError
from inference.ids import new_id

log = structlog.get_logger()


class Api(flask_smorest.Api):  # type: ignore[misc]  # it has no types
    """flask-smorest with our error body, on the wire and in the documentation."""

    ERROR_SCHEMA = ErrorSchema

    def _register_error_handlers(self) -> None:
        app: Flask = self._app
        app.register_error_handler(PenstockError, refused)
        app.register_error_handler(HTTPException, _of_flask)
        app.register_error_handler(Exception, _unforeseen)


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
