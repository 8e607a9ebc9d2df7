"""Delivers what is due: a few senders, each busy with one webhook at a time."""

import random
import time
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

import structlog

from inference.errors import StoreUnavailable
from inference.notify import sign
from inference.notify.decide import after_attempt
from inference.notify.model import Answer, Delivery, DeliveryState
from inference.notify.ports import NotifyPorts, Post
from inference.tracing import Context, Kind, Span, Tracer, Value, entered, traceparent

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
            trace = None if self._ports.traces is None else self._ports.trace(delivery)
            if self._ports.traces is None or trace is None:
                self._send(delivery, {})
            else:
                self._send_traced(delivery, self._ports.traces, trace)
        except StoreUnavailable as error:
            log.warning("webhook_waits", event_id=delivery.id, reason=error.message)
        except Exception:
            log.exception("webhook_failed", event_id=delivery.id)

    def _send_traced(self, delivery: Delivery, tracer: Tracer, trace: Context) -> None:
        """The receiver is told the span, and may go on with the trace."""
        own, began_s = tracer.child(trace), tracer.now_s()
        with entered(own):
            answer = self._send(delivery, {"traceparent": traceparent(own)})
        told: dict[str, Value] = {"penstock.event": delivery.event, "penstock.attempt": delivery.attempts + 1}
        if answer.status is not None:
            told["http.response.status_code"] = answer.status
        is_taken = answer.status is not None and answer.status < 300
        tracer.record(
            Span(
                name="webhook",
                context=own,
                parent_id=trace.span_id,
                kind=Kind.CLIENT,
                began_s=began_s,
                ended_s=tracer.now_s(),
                attributes=told,
                error=None if is_taken else str(answer.status or "no_answer"),
            )
        )

    def _send(self, delivery: Delivery, more: Mapping[str, str]) -> Answer:
        ports = self._ports
        body = ports.outbox.body(delivery)
        headers = sign.headers(
            event_id=delivery.id, at_s=int(time.time()), body=body, keys=ports.secrets.in_force(delivery.tenant_id)
        )
        answer = self._post(delivery.url, body=body, headers={**headers, **more})
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
        return answer
