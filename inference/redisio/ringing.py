"""Rings that are sent at once and answered later: whoever rings waits for nobody, and for no other thread either."""

import hashlib
import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import redis

from inference.redisio.client import SLOTS_KEY, WAKE_KEY, RedisLink
from inference.redisio.raw import command
from inference.redisio.slots import LEASE_S, RING_OR_WAKE

_SHA = hashlib.sha1(RING_OR_WAKE.encode(), usedforsecurity=False).hexdigest().encode()


@dataclass(slots=True, kw_only=True)
class Rung:
    """`slot`: what `Slots.ring_or_wake` would have said. `is_lost`: Redis did not say; ring again."""

    service_id: str
    slots: int
    token: str
    slot: int | None = None
    is_lost: bool = False


class Ringing:
    """One connection. `send` belongs to any thread, all else to the one that takes the answers."""

    def __init__(self, link: RedisLink) -> None:
        self._pool = link.client.connection_pool
        self._is_encrypted = issubclass(self._pool.connection_class, redis.SSLConnection)
        self._lock = threading.Lock()
        self._connection: redis.Connection | None = None
        self._sent: deque[Rung] = deque()

    def send(self, service_id: str, slots: int, token: str) -> bool:
        """Whether it is on its way; False while there is no connection. Never raises."""
        keys = (SLOTS_KEY + service_id).encode(), (WAKE_KEY + service_id).encode()
        said = command(b"EVALSHA", _SHA, b"2", *keys, b"%d" % slots, token.encode(), b"%d" % LEASE_S)
        with self._lock:
            if self._connection is None:
                return False
            self._sent.append(Rung(service_id=service_id, slots=slots, token=token))
            try:
                self._connection.send_packed_command([said], check_health=False)  # type: ignore[no-untyped-call]  # its gap
            except (redis.RedisError, OSError):
                self._drop()
            return True

    def open(self) -> None:
        """Connects if need be; never raises. Call when `Slots.ring_or_wake` was just answered: the script is known.

        Over TLS there is no connection, since one thread may not write to it while another reads.
        """
        if self._connection is not None or self._is_encrypted:
            return
        connection = self._pool.make_connection()
        if not isinstance(connection, redis.Connection):
            return
        try:
            connection.connect()  # type: ignore[no-untyped-call]  # the library's gap
        except (redis.RedisError, OSError):
            return
        with self._lock:
            self._connection = connection

    def answers(self) -> Iterator[Rung]:
        """All that was sent so far, in order, each with its answer. Waits for one no longer than the link does."""
        while self._sent:
            rung = self._sent[0]
            self._read(rung)
            self._sent.popleft()
            yield rung

    def close(self) -> None:
        with self._lock:
            self._drop()

    def _read(self, rung: Rung) -> None:
        connection = self._connection
        rung.is_lost = True
        if connection is None:
            return
        try:
            slot = int(connection.read_response(disconnect_on_error=False))
        except redis.ResponseError:  # it does not know the script any more, say
            return
        except (redis.RedisError, OSError, ValueError):
            with self._lock:
                self._drop()
            return
        rung.slot = None if slot < 0 else slot
        rung.is_lost = False

    def _drop(self) -> None:
        """What was sent and is not answered is lost: the next connection does not hear of it."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.disconnect()  # type: ignore[no-untyped-call]  # the library's gap
