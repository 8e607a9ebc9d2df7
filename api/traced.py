"""Requests as spans: around the whole application, and only in a process that traces."""

import re
from collections.abc import Iterable
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from inference.ids import FORM
from inference.tracing import Context, Kind, Span, Tracer, entered

PATHS = ("/api/", "/v1/")
"""Health checks and metrics would be most of what is traced."""
UNTRACED = 401
"""Who shows no good key can fill no collector."""
_ID = re.compile(FORM)


class Request:
    """One that is traced, from now until `end`."""

    def __init__(self, tracer: Tracer, context: Context, parent_id: str | None, method: str, path: str) -> None:
        self._tracer, self.context, self._parent_id = tracer, context, parent_id
        self._method, self._path = method, path
        self._began_s = tracer.now_s()

    def end(self, status: int) -> None:
        """It was answered, or will be: of a streamed answer the end is not waited for."""
        if status == UNTRACED:
            return
        route = _ID.sub("{id}", self._path)[:200]
        self._tracer.record(
            Span(
                name=f"{self._method} {route}",
                context=self.context,
                parent_id=self._parent_id,
                kind=Kind.SERVER,
                began_s=self._began_s,
                ended_s=self._tracer.now_s(),
                attributes={
                    "http.request.method": self._method,
                    "http.route": route,
                    "url.path": self._path[:300],
                    "http.response.status_code": status,
                },
                error=str(status) if status >= 500 else None,
            )
        )


def begin(tracer: Tracer, method: str, path: str, traceparent: str | None) -> Request | None:
    """None for a request that is not to be traced."""
    if not path.startswith(PATHS) or (begun := tracer.begin(traceparent)) is None:
        return None
    context, parent_id = begun
    return Request(tracer, context, parent_id, method, path)


def wsgi(inner: WSGIApplication, tracer: Tracer) -> WSGIApplication:
    """The application, its requests traced."""

    def wrapped(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        request = begin(
            tracer, environ["REQUEST_METHOD"], environ.get("PATH_INFO", ""), environ.get("HTTP_TRACEPARENT")
        )
        if request is None:
            return inner(environ, start_response)
        status = 500

        def start(line: str, *rest: Any) -> Any:
            nonlocal status
            status = int(line[:3])
            return start_response(line, *rest)

        with entered(request.context):
            try:
                return inner(environ, start)
            finally:
                request.end(status)

    return wrapped
