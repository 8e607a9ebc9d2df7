"""Sends one webhook over HTTP: to the address that was checked, within its time, and believing nothing it reads."""

import threading
from collections.abc import Callable, Sequence

import httpx

from inference.errors import CallbackRefused
from inference.notify import guard, lookup
from inference.notify.model import Answer

MESSAGE_LIMIT = 300
LOOKUP_S = 5.0


class HttpPost:
    """`Post`. Thread-safe; one connection a call: receivers are many and far between.

    The name is looked up once, every address of it is checked, and the call goes to one of those; the certificate is
    checked against the name.
    """

    def __init__(
        self,
        *,
        allowed: Callable[[], Sequence[guard.Network]] = tuple,
        timeout_s: float = 15.0,
        resolve: guard.Resolve = guard.lookup,
    ) -> None:
        self._allowed = allowed
        self._timeout_s = timeout_s
        self._resolve = resolve
        self._context = httpx.create_ssl_context(trust_env=False)

    def __call__(self, url: str, *, body: bytes, headers: dict[str, str]) -> Answer:
        try:
            target = guard.check(url, allowed=self._allowed(), resolve=self._lookup)
        except CallbackRefused as error:
            return Answer(error=error.message, is_hopeless=True)
        except OSError as error:
            return Answer(error=f"The name cannot be looked up: {error}"[:MESSAGE_LIMIT])
        try:
            return self._send(target, body, headers)
        except (httpx.HTTPError, OSError) as error:
            return Answer(error=f"{type(error).__name__}: {error}"[:MESSAGE_LIMIT])

    def _lookup(self, host: str, port: int) -> Sequence[str]:
        return lookup.within(min(LOOKUP_S, self._timeout_s), host, port, resolve=self._resolve)

    def _send(self, target: guard.Target, body: bytes, headers: dict[str, str]) -> Answer:
        """Of the answer its head alone is read."""
        base, host = lookup.pinned(target)
        sent = {
            **headers,
            "Host": host,
            "Content-Type": "application/json",
            "User-Agent": "Penstock",
            "Connection": "close",
        }
        with httpx.Client(verify=self._context, trust_env=False, timeout=self._timeout_s) as client:
            # Its own time limits are for each read: one that drips a byte a second would never meet them.
            hang_up = threading.Timer(self._timeout_s, client.close)
            hang_up.start()
            try:
                with client.stream(
                    "POST",
                    base + target.path,
                    content=body,
                    headers=sent,
                    extensions={"sni_hostname": target.host},
                    follow_redirects=False,
                ) as response:
                    status, wish = response.status_code, response.headers.get("Retry-After", "")
            finally:
                hang_up.cancel()
        error = None if 200 <= status < 300 else f"The receiver answered {status}."
        return Answer(status=status, error=error, retry_after_s=float(wish) if wish.isdecimal() else None)
