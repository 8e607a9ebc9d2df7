"""Requests of the asynchronous process as spans."""

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import traced
from inference.tracing import Tracer, entered


class Traced:
    """The application, its requests traced; a stream or a long poll until its end. WebSockets are not.

    `aside`: where the first look at the database's clock may wait.
    """

    def __init__(self, inner: ASGIApp, tracer: Tracer, aside: Callable[..., Awaitable[Any]]) -> None:
        self._inner = inner
        self._tracer = tracer
        self._aside = aside

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request: traced.Request | None = await self._aside(self._begin, scope) if scope["type"] == "http" else None
        if request is None:
            await self._inner(scope, receive, send)
            return
        status = 500

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        with entered(request.context):
            try:
                await self._inner(scope, receive, noting)
            finally:
                request.end(status)

    def _begin(self, scope: Scope) -> traced.Request | None:
        sent = next((value for name, value in scope["headers"] if name == b"traceparent"), b"")
        return traced.begin(self._tracer, scope["method"], scope["path"], sent.decode("latin-1") or None)
