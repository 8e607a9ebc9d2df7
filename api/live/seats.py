"""How many requests of one caller may wait at a time: waiting is cheap, but a front's connections are not endless."""

from collections import Counter

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from api import peer
from api.errors import answer
from api.guard import presented_in
from inference.errors import TooManyWaiting

CALLS = {"http": "http.response", "websocket": "websocket.http.response"}
"""What may wait, and how its refusal is sent."""


class Seats:
    """Refuses a request of a caller who has `most` under way; 0 refuses none. One event loop, no locks.

    A caller is a key, good or not; without one, an address.
    """

    def __init__(self, app: ASGIApp, *, most: int, behind_front: bool) -> None:
        self._app = app
        self._most = most
        self._behind_front = behind_front
        self._taken: Counter[int] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in CALLS or not self._most:
            await self._app(scope, receive, send)
            return
        caller = hash(
            presented_in(HTTPConnection(scope).headers) or peer.of_asgi(scope, behind_front=self._behind_front)
        )
        if self._taken[caller] >= self._most:
            await _refuse(self._most, scope, send)
            return
        self._taken[caller] += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._taken[caller] -= 1
            if not self._taken[caller]:
                del self._taken[caller]


async def _refuse(most: int, scope: Scope, send: Send) -> None:
    kind = CALLS[scope["type"]]
    refusal = answer(
        TooManyWaiting(
            f"{most} requests of this key or address wait here already; end some first.", limit=most, retry_after_s=5
        )
    )
    headers = {"Content-Type": "application/json", "Content-Length": str(len(refusal.body)), **refusal.headers}
    await send(
        {
            "type": f"{kind}.start",
            "status": refusal.status,
            "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
        }
    )
    await send({"type": f"{kind}.body", "body": refusal.body})
