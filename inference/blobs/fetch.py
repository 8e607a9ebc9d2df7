"""Fetches an input from where its `input_ref` points: a URL, or an object of a bucket; bounded in size and in time."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from inference.blobs.s3 import PIECE_BYTES, open_bucket, remote_errors
from inference.errors import CallbackRefused, InputRefused, InputUnreachable, TooLarge, TooManyWaiting, Unavailable
from inference.notify import guard, lookup
from inference.settings import BlobsSettings, InputsSettings

LONGEST_KEY = 1024
REASON_LIMIT = 300


class InputFetch:
    """A `Fetch`. Thread-safe; at most `fetches` at once, since each holds a thread that others wait for."""

    def __init__(
        self, settings: InputsSettings, buckets: BlobsSettings, *, resolve: guard.Resolve = guard.lookup
    ) -> None:
        self._settings = settings
        self._buckets = buckets
        self._allowed = frozenset(name.strip() for name in settings.s3_buckets.split(",") if name.strip())
        self._resolve = resolve
        self._turns = threading.BoundedSemaphore(settings.fetches)

    def __call__(self, reference: str, *, is_open: bool, limit_bytes: int) -> bytes:
        with self._turn():
            if reference.startswith("s3://"):
                return self._of_bucket(reference, limit_bytes)
            return self._of_url(reference, is_open, limit_bytes)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        if not self._turns.acquire(blocking=False):
            raise TooManyWaiting(
                f"{self._settings.fetches} inputs are being fetched already; try again, or send this one as an upload.",
                limit=self._settings.fetches,
            )
        try:
            yield
        finally:
            self._turns.release()

    def _of_bucket(self, reference: str, limit_bytes: int) -> bytes:
        bucket, _, key = reference.removeprefix("s3://").partition("/")
        if not key or len(key) > LONGEST_KEY or "\0" in key:
            raise InputRefused("`input_ref` must be s3://bucket/key.", field="input_ref")
        if bucket not in self._allowed:
            raise InputRefused(
                f"Inputs are not read from the bucket `{bucket[:64]}`: it is not in PENSTOCK_INPUTS__S3_BUCKETS.",
                field="input_ref",
            )
        import obstore

        store = open_bucket(self._buckets, bucket, timeout_s=self._settings.fetch_timeout_s)
        try:
            with remote_errors(f"The bucket {bucket}"):
                size_bytes = int(obstore.head(store, key)["size"])
                _refuse_large(size_bytes, limit_bytes)
                pieces = range(0, size_bytes, PIECE_BYTES)
                return b"".join(
                    bytes(obstore.get_range(store, key, start=at, length=min(PIECE_BYTES, size_bytes - at)))
                    for at in pieces
                )
        except FileNotFoundError as error:
            raise _unreachable(f"there is no object {key[:200]} in the bucket {bucket}") from error
        except Unavailable as error:
            raise _unreachable(error.message) from error

    def _of_url(self, url: str, is_open: bool, limit_bytes: int) -> bytes:
        import httpx

        limit_s = self._settings.fetch_timeout_s
        try:
            target = guard.check(
                url,
                allowed=guard.reach(self._settings.allowed_networks, is_open=is_open),
                resolve=lambda host, port: lookup.within(limit_s, host, port, resolve=self._resolve),
            )
        except CallbackRefused as error:
            message = error.message.replace("callback_url", "input_ref")
            raise InputRefused(message, field="input_ref") from error
        except OSError as error:
            raise _unreachable(f"the name cannot be looked up: {error}") from error
        try:
            return self._get(target, limit_s, limit_bytes)
        except (httpx.HTTPError, OSError) as error:
            raise _unreachable(f"{type(error).__name__}: {error}") from error

    def _get(self, target: guard.Target, limit_s: float, limit_bytes: int) -> bytes:
        """From the address that was checked, and from no other: what it redirects to is not followed."""
        import httpx

        base, host = lookup.pinned(target)
        sent = {"Host": host, "User-Agent": "Penstock", "Accept-Encoding": "identity", "Connection": "close"}
        is_late = threading.Event()
        with httpx.Client(trust_env=False, timeout=limit_s) as client:

            def hang_up() -> None:
                is_late.set()
                client.close()

            # Its own limits are for each read: a server that drips would never meet them.
            timer = threading.Timer(limit_s, hang_up)
            timer.start()
            try:
                name = {"sni_hostname": target.host}
                with client.stream("GET", base + target.path, headers=sent, extensions=name) as response:
                    if response.status_code != 200:
                        raise _unreachable(f"the server answered {response.status_code}")
                    content = bytearray()
                    for piece in response.iter_raw(1 << 16):
                        content += piece
                        _refuse_large(len(content), limit_bytes)
                        if is_late.is_set():
                            raise _unreachable(f"it did not come within {limit_s:g} s")
                    return bytes(content)
            finally:
                timer.cancel()


def _refuse_large(size_bytes: int, limit_bytes: int) -> None:
    if size_bytes > limit_bytes:
        raise TooLarge(
            f"The input is larger than the {limit_bytes} bytes that are accepted by reference.", limit_bytes=limit_bytes
        )


def _unreachable(why: str) -> InputUnreachable:
    reason = why[:REASON_LIMIT].rstrip(".")
    return InputUnreachable(f"The input could not be fetched: {reason}.", field="input_ref")
