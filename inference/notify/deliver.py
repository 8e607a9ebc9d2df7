"""Delivers what is due: a few senders, each busy with one webhook at a time."""

import random
import time
from collections import Counter
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

import structlog

from inference.errors import StoreUnavailable
from inference.notify import sign
from inference.notify.decide import after_attempt
from inference.notify.model import Delivery, DeliveryState
from inference.notify.ports import NotifyPorts, Post

log = structlog.get_logger(__name__)


class Courier:
    """One per process, used by one thread. Any number of processes may have one.

    At least once: a sender that dies after the receiver answered is followed by another attempt with the same id.
    No service has more than a quarter of the senders, so that a slow receiver holds up its own webhooks only.
    """

    def __init__(self, ports: NotifyPorts, post: Post, *, by: str) -> None:
        self._ports = ports
        self._post = post
        self._by = by
        self._pool = ThreadPoolExecutor(ports.settings.senders, thread_name_prefix="webhook")
        self._of_one = max(1, ports.settings.senders // 4)
        self._under_way: dict[Future[None], str] = {}

    def deliver(self, *, wait_s: float) -> int:
        """Begins what is due and can be begun; how many. Waits up to `wait_s` for a sender when all are busy.

        Raises StoreUnavailable; what was taken then is due again when its lease is over.
        """
        self._gather(wait_s if len(self._under_way) >= self._ports.settings.senders else 0.0)
        free = self._ports.settings.senders - len(self._under_way)
        if free <= 0:
            return 0
        senders = Counter(self._under_way.values())
        taken = self._ports.outbox.take(
            by=self._by,
            limit=free,
            of_one=self._of_one,
            lease_s=self._ports.settings.lease_s,
            busy=[service_id for service_id, count in senders.items() if count >= self._of_one],
        )
        for delivery in taken:
            self._under_way[self._pool.submit(self._attempt, delivery)] = delivery.service_id
        return len(taken)

    def close(self) -> None:
        """Waits for the attempts under way; they are bounded in time."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _gather(self, wait_s: float) -> None:
        done, _ = wait(self._under_way, timeout=wait_s, return_when=FIRST_COMPLETED)
        for attempt in done:
            del self._under_way[attempt]

    def _attempt(self, delivery: Delivery) -> None:
        """An outer edge: what goes wrong here is logged, and the delivery is due again when its lease is over."""
        try:
            self._send(delivery)
        except StoreUnavailable as error:
            log.warning("webhook_waits", event_id=delivery.id, reason=error.message)
        except Exception:
            log.exception("webhook_failed", event_id=delivery.id)

    def _send(self, delivery: Delivery) -> None:
        ports = self._ports
        body = ports.outbox.body(delivery)
        headers = sign.headers(
            event_id=delivery.id, at_s=int(time.time()), body=body, keys=ports.secrets.in_force(delivery.tenant_id)
        )
        answer = self._post(delivery.url, body=body, headers=headers)
        attempts = delivery.attempts + 1
        settled = after_attempt(answer, attempts=attempts, dice=random.random())  # noqa: S311 - jitter
        ports.outbox.settle(delivery.id, by=self._by, state=settled.state, delay_s=settled.delay_s, answer=answer)
        if settled.state is not DeliveryState.DELIVERED:
            log.info(
                "webhook_not_delivered",
                event_id=delivery.id,
                attempts=attempts,
                status=answer.status,
                reason=answer.error,
                state=settled.state.value,
            )
