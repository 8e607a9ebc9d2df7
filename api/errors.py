"""Errors on the wire: a status by nearest ancestor, and always the same body."""

import math
from dataclasses import dataclass, field
from typing import Any

import orjson

from inference import errors, tracing
from inference.errors import PenstockError

STATUS: dict[type[PenstockError], int] = {
    errors.BadRequest: 400,
    errors.UnsupportedMediaType: 415,
    errors.Unauthenticated: 401,
    errors.Denied: 403,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.TooLarge: 413,
    errors.Invalid: 422,
    errors.TooMany: 429,
    errors.Unavailable: 503,
    errors.NotInTime: 504,
    errors.TimedOut: 504,
    errors.DeadlinePassed: 504,
    errors.InstanceLost: 503,
    errors.OutOfMemory: 503,
    errors.NoRoom: 507,
    PenstockError: 500,
}
RETRY_AFTER_S = 1

# What the server itself refuses, before or after a handler of ours: status -> (code, sentence).
OF_THE_SERVER: dict[int, tuple[str, str]] = {
    400: ("bad_request", "The request cannot be read."),
    404: ("route_not_found", "There is nothing at this path; /docs lists what there is."),
    405: ("method_not_allowed", "This path does not answer that method; the header Allow lists those it does."),
    408: ("request_timeout", "The body did not come in time."),
    413: ("too_large", "The body is too large; send it through POST /v1/uploads and refer to it."),
    415: ("unsupported_media_type", "Send JSON (Content-Type: application/json)."),
    416: ("range_not_satisfiable", "The file ends before that range begins."),
    422: ("invalid_field", "The request can be read, and what it says cannot be done."),
    500: ("internal_error", "Something failed inside; the log tells more under details.error_id."),
}
JSON = "application/json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What goes out, whatever framework carries it."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


def status_of(kind: type[PenstockError]) -> int:
    """The status of the nearest ancestor that has one."""
    return next(STATUS[parent] for parent in kind.__mro__ if parent in STATUS)


def answer(error: PenstockError) -> Answer:
    """The response to one of our errors; with Retry-After where a later try may do."""
    status = status_of(type(error))
    headers = {}
    if status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="penstock"'
    if status in (429, 503):
        headers["Retry-After"] = str(max(1, math.ceil(float(error.details.get("retry_after_s", RETRY_AFTER_S)))))
    return Answer(status=status, body=body(error.code, error.message, error.details), headers=headers)


def of_the_server(status: int, **details: Any) -> Answer:
    """The response to what a framework refused by itself."""
    code, message = OF_THE_SERVER.get(status, OF_THE_SERVER[400 if status < 500 else 500])
    return Answer(status=status, body=body(code, message, details))


def body(code: str, message: str, details: dict[str, Any]) -> bytes:
    """`{"code","message","details"}`; a detail that JSON cannot hold becomes its text. Traced ones name their trace."""
    if (trace := tracing.current()) is not None:
        details = {**details, "trace_id": trace.trace_id}
    return orjson.dumps({"code": code, "message": message, "details": details}, default=str)


def again(error: PenstockError, prefix: str, **details: Any) -> PenstockError:
    """The same error, told with where it happened."""
    return type(error)(f"{prefix}: {error.message}", **{**error.details, **details})
