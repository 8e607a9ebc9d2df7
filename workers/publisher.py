"""Sends doorbells and kicks, from a thread of its own: nobody who rings ever waits for a broker.

Redis is asked at once for a slot, or told to wake a drain; the thread hears what it answers, and sends the doorbell.
Speaks Celery's message protocol through kombu, so that the API need not load Celery.
"""

import contextlib
import secrets
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import structlog
from kombu import Connection, Queue

from inference.clock import monotonic_s
from inference.errors import HotUnavailable
from inference.ids import new_id
from inference.redisio import tls
from inference.redisio.client import RedisLink
from inference.redisio.ringing import Ringing, Rung
from inference.redisio.slots import Slots
from inference.settings import Settings
from inference.telemetry import metrics
from workers.queues import CONTROL_QUEUE, DRAIN_TASK, RECONCILE_TASK, REPORTS_TASK, service_queue

log = structlog.get_logger(__name__)

PAUSE_S = 0.001
"""Rings that come within this time of the last one go together; one that comes later goes at once."""
CALL_AGAIN_S = 0.2


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
    """`Bell`, `Kick` and `Nudge`. What is rung while the last ring is on its way is rung once."""

    def __init__(self, settings: Settings) -> None:
        self._sender = Sender(settings)
        link = RedisLink(settings, timeout_s=settings.redis.publish_timeout_s)
        self._slots = Slots(link)
        self._ringing = Ringing(link)
        self._breaker_s = settings.redis.breaker_s
        self._lock = threading.Lock()
        self._not_before = self._away_until = 0.0
        self._rings: dict[str, int] = {}
        self._taken: list[Rung] = []
        self._kicks = self._nudges = False
        self._called_at = float("-inf")
        self._closing = False
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None

    def ring(self, service_id: str, *, slots: int) -> None:
        """Without slots the service rests: whoever can wake it is told, since nobody else would hear."""
        if not slots:
            self._call_waker()
            return
        with self._lock:
            now_s = monotonic_s()
            is_early = now_s < max(self._not_before, self._away_until)
            if is_early or not self._ringing.send(service_id, slots, _new_token()):
                self._rings[service_id] = slots
            else:
                self._not_before = now_s + PAUSE_S
        self._start()

    def ring_early(self, service_id: str, *, slots: int) -> bool:
        with self._lock:
            now_s = monotonic_s()
            if not slots or now_s < max(self._not_before, self._away_until):
                return False
            if not self._ringing.send(service_id, slots, _new_token()):
                return False
            self._not_before = now_s + PAUSE_S
        return True

    def heed(self) -> None:
        self._start()

    def deliver(self, service_id: str, *, slot: int, token: str, slots: int) -> None:
        with self._lock:
            self._taken.append(Rung(service_id=service_id, slots=slots, token=token, slot=slot))
        self._start()

    def reconcile(self) -> None:
        self._kicks = True
        self._start()

    def report(self) -> None:
        self._nudges = True
        self._start()

    def _call_waker(self) -> None:
        """Not for each of many jobs: it takes a moment until they are seen to ring for somebody."""
        now_s = monotonic_s()
        if now_s - self._called_at >= CALL_AGAIN_S:
            self._called_at = now_s
            self.reconcile()

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
        while True:
            self._wake.wait()
            self._wake.clear()
            heard = list(self._ringing.answers())
            self._pause()
            with self._lock:
                rings, self._rings = self._rings, {}
                taken, self._taken = self._taken, []
            kicks, self._kicks = self._kicks, False
            nudges, self._nudges = self._nudges, False
            try:
                self._deliver(rings, kicks=kicks, nudges=nudges, heard=[*heard, *taken])
            except Exception as error:
                self._away_until = monotonic_s() + self._breaker_s
                log.warning("bell_not_rung", reason=str(error), services=len(rings))
            if self._closing:
                self._sender.drop()
                self._ringing.close()
                return

    def _pause(self) -> None:
        """Before rings that came right after others."""
        with self._lock:
            if not self._rings:
                return
            now_s = monotonic_s()
            pause_s = self._not_before - now_s
            self._not_before = max(now_s, self._not_before) + PAUSE_S
        if pause_s > 0:
            time.sleep(pause_s)

    def _deliver(self, rings: dict[str, int], *, kicks: bool, nudges: bool = False, heard: Sequence[Rung] = ()) -> None:
        """Raises what the broker's client raises; for a while after that nothing is sent.

        A slot whose doorbell was not sent is given back, or nobody would be rung until its lease is over.
        """
        bells = [rung for rung in heard if rung.slot is not None]
        try:
            if monotonic_s() < self._away_until:
                return
            if kicks:
                self._sender.send(CONTROL_QUEUE, RECONCILE_TASK, [])
            if nudges:
                self._sender.send(CONTROL_QUEUE, REPORTS_TASK, [])
            self._send_bells(bells)
            bells += self._ask(rings | {rung.service_id: rung.slots for rung in heard if rung.is_lost})
            self._send_bells(bells)
        finally:
            for rung in bells:
                self._give_back(rung)

    def _ask(self, rings: dict[str, int]) -> list[Rung]:
        """Those who got a slot."""
        unasked = {name: slots for name, slots in rings.items() if not self._ringing.send(name, slots, _new_token())}
        heard = list(self._ringing.answers())
        for service_id, slots in (unasked | {rung.service_id: rung.slots for rung in heard if rung.is_lost}).items():
            token = _new_token()
            slot = self._slots.ring_or_wake(service_id, slots=slots, token=token)
            self._ringing.open()
            heard.append(Rung(service_id=service_id, slots=slots, token=token, slot=slot))
        return [rung for rung in heard if rung.slot is not None]

    def _send_bells(self, bells: list[Rung]) -> None:
        """Each is taken off the list when it is sent."""
        while bells:
            rung = bells[0]
            self._sender.send(service_queue(rung.service_id), DRAIN_TASK, [rung.service_id, rung.slot, rung.token])
            metrics.doorbells.labels(rung.service_id).inc()
            bells.pop(0)

    def _give_back(self, rung: Rung) -> None:
        with contextlib.suppress(HotUnavailable):
            for _ in range(rung.slots + 1):
                if self._slots.release_if_no_wake(rung.service_id, slot=rung.slot or 0, token=rung.token):
                    return


def _new_token() -> str:
    return secrets.token_hex(8)


@dataclass(frozen=True, slots=True)
class Connected:
    """`close` ends the publisher's thread."""

    bell: Publisher
    kick: Publisher
    nudge: Publisher
    close: Callable[[], None]


def connect(settings: Settings) -> Connected:
    """The bell, the kick and the nudge of one process. No connection is made before the first ring."""
    publisher = Publisher(settings)
    return Connected(bell=publisher, kick=publisher, nudge=publisher, close=publisher.close)
