"""Sends doorbells and kicks, from a thread of its own: nobody who rings ever waits for a broker.

Speaks Celery's message protocol through kombu, so that the API need not load Celery.
"""

import secrets
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import structlog
from kombu import Connection, Queue

from inference.clock import monotonic_s
from inference.ids import new_id
from inference.redisio import tls
from inference.redisio.client import RedisLink
from inference.redisio.slots import Slots
from inference.settings import Settings
from inference.telemetry import metrics
from workers.queues import CONTROL_QUEUE, DRAIN_TASK, RECONCILE_TASK, service_queue

log = structlog.get_logger(__name__)

PAUSE_S = 0.002
"""Rings that come within this time of the last delivery go together; one that comes later goes at once."""


def broker_tls(settings: Settings) -> Any:
    """kombu's `ssl` argument: certificate and host name of the broker are checked wherever its URL asks for TLS."""
    broker = urlsplit(settings.broker_url)
    if broker.scheme == "amqps":
        return {"cert_reqs": ssl.CERT_REQUIRED, "server_hostname": broker.hostname}
    return tls.options(settings.broker_url, settings.redis) or False


class Sender:
    """Publishes task messages over one connection. Not thread-safe: its thread owns it."""

    def __init__(self, settings: Settings) -> None:
        url = tls.without_options(settings.broker_url) or "redis://127.0.0.1:6379/0"
        limit = settings.redis.publish_timeout_s
        options: dict[str, Any] = {"socket_timeout": limit, "socket_connect_timeout": limit, "max_retries": 0}
        self._connection = Connection(
            url,
            connect_timeout=limit,
            ssl=broker_tls(settings),
            transport_options=options if url.startswith("redis") else {},
        )
        self._producer: Any = None

    def send(self, queue: str, task: str, args: list[object]) -> None:
        """Raises whatever the broker's client raises; the connection is dropped and made anew next time."""
        task_id = new_id()
        headers = {
            "lang": "py",
            "task": task,
            "id": task_id,
            "root_id": task_id,
            "parent_id": None,
            "group": None,
            "ignore_result": True,
            "argsrepr": repr(args),
            "kwargsrepr": "{}",
            "retries": 0,
            "timelimit": [None, None],
            "eta": None,
            "expires": None,
        }
        embed = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
        try:
            if self._producer is None:
                self._producer = self._connection.Producer(auto_declare=False)
            self._producer.publish(
                (args, {}, embed),
                exchange="",
                routing_key=queue,
                declare=[Queue(queue, exchange=queue, routing_key=queue)],
                serializer="json",
                headers=headers,
                correlation_id=task_id,
                delivery_mode="transient",
                retry=False,
            )
        except Exception:
            self.drop()
            raise

    def drop(self) -> None:
        """Forgets a connection that may be broken."""
        self._producer = None
        self._connection.close()


class Publisher:
    """`Bell` and `Kick`. What is rung while the last ring is on its way is rung once."""

    def __init__(self, settings: Settings) -> None:
        self._sender = Sender(settings)
        self._slots = Slots(RedisLink(settings, timeout_s=settings.redis.publish_timeout_s))
        self._breaker_s = settings.redis.breaker_s
        self._lock = threading.Lock()
        self._rings: dict[str, int] = {}
        self._taken: list[tuple[str, int, str, int]] = []
        self._kicks = False
        self._closing = False
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None

    def ring(self, service_id: str, *, slots: int) -> None:
        with self._lock:
            self._rings[service_id] = slots
        self._start()

    def deliver(self, service_id: str, *, slot: int, token: str, slots: int) -> None:
        with self._lock:
            self._taken.append((service_id, slot, token, slots))
        self._start()

    def reconcile(self) -> None:
        self._kicks = True
        self._start()

    def close(self) -> None:
        """Sends what is waiting and ends the thread."""
        self._closing = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout=1.0)

    def _start(self) -> None:
        if self._thread is None:
            with self._lock:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)
                    self._thread.start()
        self._wake.set()

    def _run(self) -> None:
        away_until = not_before = 0.0
        while True:
            self._wake.wait()
            self._wake.clear()
            pause_s = not_before - monotonic_s()
            if pause_s > 0:
                time.sleep(pause_s)
            not_before = monotonic_s() + PAUSE_S
            with self._lock:
                rings, self._rings = self._rings, {}
                taken, self._taken = self._taken, []
            kicks, self._kicks = self._kicks, False
            if monotonic_s() >= away_until:
                try:
                    for service_id, slot, token, slots in taken:
                        self._send_bell(service_id, slot, token, slots=slots)
                    self._deliver(rings, kicks=kicks)
                except Exception as error:
                    away_until = monotonic_s() + self._breaker_s
                    log.warning("bell_not_rung", reason=str(error), services=len(rings))
            if self._closing:
                self._sender.drop()
                return

    def _deliver(self, rings: dict[str, int], *, kicks: bool) -> None:
        if kicks:
            self._sender.send(CONTROL_QUEUE, RECONCILE_TASK, [])
        for service_id, slots in rings.items():
            token = secrets.token_hex(8)
            slot = self._slots.ring_or_wake(service_id, slots=slots, token=token)
            if slot is not None:
                self._send_bell(service_id, slot, token, slots=slots)

    def _send_bell(self, service_id: str, slot: int, token: str, *, slots: int) -> None:
        """A slot whose doorbell could not be sent is given back, or nobody would be rung until its lease is over."""
        try:
            self._sender.send(service_queue(service_id), DRAIN_TASK, [service_id, slot, token])
        except Exception:
            for _ in range(slots + 1):
                if self._slots.release_if_no_wake(service_id, slot=slot, token=token):
                    break
            raise
        metrics.doorbells.labels(service_id).inc()


@dataclass(frozen=True, slots=True)
class Connected:
    """`close` ends the publisher's thread."""

    bell: Publisher
    kick: Publisher
    close: Callable[[], None]


def connect(settings: Settings) -> Connected:
    """The bell and the kick of one process. No connection is made before the first ring."""
    publisher = Publisher(settings)
    return Connected(bell=publisher, kick=publisher, close=publisher.close)
