"""Who is at the other end of a request: the address that the front saw, or the socket's own."""

from collections.abc import Mapping
from typing import Any

UNKNOWN = "unknown"
"""A request that came over a Unix socket, past the front: somebody with the rights of our own user."""


def of_wsgi(environ: Mapping[str, Any], *, behind_front: bool) -> str:
    """The client's address, as text; `UNKNOWN` where there is none. Never raises.

    `X-Real-IP` counts only `behind_front`: the front overwrites what a client sent, and nobody else can connect.
    """
    address = (environ.get("HTTP_X_REAL_IP") if behind_front else None) or environ.get("REMOTE_ADDR")
    return _plain(address)


def of_asgi(scope: Mapping[str, Any], *, behind_front: bool) -> str:
    """Like `of_wsgi`, for the asynchronous process."""
    if behind_front:
        for name, value in scope["headers"]:
            if name == b"x-real-ip" and value:
                return _plain(value.decode("latin-1"))
    client = scope.get("client")
    return _plain(client[0] if client else None)


def _plain(address: str | None) -> str:
    """One spelling for one machine: a socket for both families writes IPv4 as `::ffff:1.2.3.4`."""
    if not address:
        return UNKNOWN
    return address.removeprefix("::ffff:") if "." in address else address
