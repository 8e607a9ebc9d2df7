"""Carries out what alerts order, at least once: log, e-mail, webhook, scale, restart."""

import json
import random
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from typing import Any

import structlog

from inference import clock
from inference.access.acting import acting
from inference.access.model import Actor, Scope
from inference.alerts import texts
from inference.alerts.model import Action, ActionKind, Alert, Event, Order, OrderState, Phase
from inference.alerts.ports import AlertPorts, Mail, Post
from inference.errors import PenstockError, ServiceNotFound, StoreUnavailable, TenantNotFound
from inference.notify import sign
from inference.notify.decide import after_attempt
from inference.notify.model import Answer, DeliveryState
from inference.serving import control, quota
from inference.serving.model import MEANT_TO_RUN, Service

log = structlog.get_logger(__name__)

WORKERS = 4
LEASE_S = 180.0
"""Longer than any attempt takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Skip:
    """There was nothing to do."""

    why: str


class Performer:
    """Used by one thread; any number of processes may have one. A slow receiver holds up three others at most."""

    def __init__(self, ports: AlertPorts, *, by: str, post: Post, mail: Mail) -> None:
        self._ports = ports
        self._by = by
        self._post, self._mail = post, mail
        self._pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="alert")
        self._under_way: set[Future[None]] = set()

    def turn(self) -> int:
        """Begins what is due; how many. Raises StoreUnavailable; what was taken is due again after its lease."""
        self._under_way = {one for one in self._under_way if not one.done()}
        if (free := WORKERS - len(self._under_way)) <= 0:
            return 0
        taken = self._ports.alerts.take(by=self._by, limit=free, lease_s=LEASE_S)
        for order, alert in taken:
            self._under_way.add(self._pool.submit(self._attempt, order, alert))
        return len(taken)

    def settle(self) -> None:
        """Waits for what is under way."""
        wait(self._under_way)

    def close(self) -> None:
        """Waits for what is under way; what was not begun is due again after its lease."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _attempt(self, order: Order, alert: Alert) -> None:
        """An outer edge: what goes wrong is logged, and the order is due again when its lease is over."""
        try:
            self._carry_out(order, alert)
        except StoreUnavailable as error:
            log.warning("alert_action_waits", alert_id=alert.id, reason=error.message)
        except Exception:
            log.exception("alert_action_failed", alert_id=alert.id, kind=order.action.kind.value)

    def _carry_out(self, order: Order, alert: Alert) -> None:
        if order.action.kind in (ActionKind.SCALE, ActionKind.RESTART):
            done = self._change(order, alert)
            if isinstance(done, Skip):
                self._settle(order, OrderState.SKIPPED, note=done.why)
                return
        else:
            done = self._send(order, as_of(alert, order.event))
        settled = after_attempt(done, attempts=order.attempts + 1, dice=random.random())  # noqa: S311 - jitter
        state = {
            DeliveryState.DELIVERED: OrderState.DONE,
            DeliveryState.PENDING: OrderState.PENDING,
            DeliveryState.GIVEN_UP: OrderState.GIVEN_UP,
        }[settled.state]
        self._settle(order, state, delay_s=settled.delay_s, note=done.error)
        if state is not OrderState.DONE:
            log.warning(
                "alert_action_failed",
                alert_id=alert.id,
                kind=order.action.kind.value,
                attempts=order.attempts + 1,
                reason=done.error,
                state=state.value,
            )

    def _settle(self, order: Order, state: OrderState, *, delay_s: float = 0.0, note: str | None = None) -> None:
        self._ports.alerts.settle(order, by=self._by, state=state, delay_s=delay_s, note=note)

    def _send(self, order: Order, alert: Alert) -> Answer:
        name = self._name_of(alert)
        if order.action.kind is ActionKind.LOG:
            write_log(alert, name, order.event)
            return Answer(status=200)
        language = self._ports.settings.language
        if order.action.kind is ActionKind.EMAIL:
            subject, text = letter(alert, name, language)
            return self._mail(to=order.action.to, subject=subject, text=text, message_id=order.id)
        body = json.dumps(message(alert, name, order.event), ensure_ascii=False).encode()
        keys = self._ports.secrets.in_force(alert.tenant_id)
        headers = sign.headers(event_id=order.id, at_s=int(time.time()), body=body, keys=keys)
        return self._post(order.action.url, body=body, headers=headers)

    def _name_of(self, alert: Alert) -> str:
        if not alert.service_id:
            return ""
        try:
            return self._ports.serving.services.get(Scope(alert.tenant_id), alert.service_id).name
        except ServiceNotFound:
            return ""

    def _change(self, order: Order, alert: Alert) -> Answer | Skip:
        """Scales or restarts; as the act of the rule, in the audit record."""
        action, scope = order.action, Scope(alert.tenant_id)
        last = self._ports.alerts.last_done(
            tenant_id=alert.tenant_id, service_id=alert.service_id, kind=action.kind.value
        )
        now = self._ports.alerts.now_s()
        if last is not None and now - last < action.cooldown_s:
            why = f"The last {action.kind.value} was {now - last:.0f} s ago; the cool-down is {action.cooldown_s:g} s."
            return Skip(why=why)
        who = Actor(
            tenant_id=alert.tenant_id,
            kind="alert",
            id=alert.rule_id,
            name=alert.name,
            address="",
            operation=f"alert {alert.id}",
        )
        try:
            service = self._ports.serving.services.get(scope, alert.service_id)
            if service.state not in MEANT_TO_RUN and action.kind is ActionKind.SCALE:
                return Skip(why=f"The service is {service.state.value}.")
            with acting(who):
                if action.kind is ActionKind.RESTART:
                    return self._restart(scope, service)
                return self._scale(scope, service, action)
        except StoreUnavailable:
            raise
        except ServiceNotFound:
            return Skip(why="The service was deleted.")
        except PenstockError as error:
            return Answer(error=error.message, is_hopeless=not error.retryable)

    def _restart(self, scope: Scope, service: Service) -> Answer | Skip:
        if service.state.value in ("stopped", "stopping", "pending"):
            return Skip(why=f"The service is {service.state.value}; a person wanted that.")
        control.restart(self._ports.serving, scope=scope, service_id=service.id)
        return Answer(status=200)

    def _scale(self, scope: Scope, service: Service, action: Action) -> Answer | Skip:
        if service.config.auto_scaling.enabled:
            return Skip(why="The autoscaler decides on the size of this service.")
        now = service.config.replicas
        wanted = min(now + action.by, action.max_replicas)
        if wanted <= now:
            return Skip(why=f"It has {now} replicas already; {action.max_replicas} is the most.")
        try:
            limits = self._ports.tenants.get(scope.tenant_id).limits
        except TenantNotFound:
            limits = None
        if limits is not None:
            quota.require_room(
                self._ports.serving,
                scope=scope,
                limits=limits,
                service_id=service.id,
                config=service.config,
                replicas=wanted,
            )
        control.scale(self._ports.serving, scope=scope, service_id=service.id, replicas=wanted)
        return Answer(status=200)


def as_of(alert: Alert, event: Event) -> Alert:
    """The alert as it was when the order was given: it may have been resolved since."""
    if event is Event.RESOLVED or alert.phase is not Phase.RESOLVED:
        return alert
    return replace(alert, phase=Phase.FIRING, resolved_at=None)


def write_log(alert: Alert, name: str, event: Event) -> None:
    """One entry, with the service's id so that its own log shows it."""
    fields: dict[str, Any] = {
        "alert_id": alert.id,
        "rule": alert.name,
        "severity": alert.severity.value,
        "service_id": alert.service_id or None,
        "value": alert.value,
        "threshold": alert.threshold,
        "summary": texts.summary(alert, name, "en"),
    }
    if event is Event.FIRED:
        log.warning("alert_fired", **fields)
    else:
        log.info("alert_resolved", **fields)


def letter(alert: Alert, name: str, language: str) -> tuple[str, str]:
    """Subject and text of an e-mail."""
    summary = texts.summary(alert, name, language)
    told = texts.of(alert.metric, language, alert.service_id)
    subject = f"[{alert.severity.value}] {summary}" if alert.phase is not Phase.RESOLVED else summary
    heads = {"en": ("Likely", "What to do", "Alert"), "zh": ("可能原因", "处理建议", "告警编号")}[language]
    lines = [summary, ""]
    if alert.phase is not Phase.RESOLVED:
        lines += [f"{heads[0]}: {told.likely}", f"{heads[1]}: {told.do}", ""]
    return subject, "\n".join([*lines, f"{heads[2]}: {alert.id}", ""])


def message(alert: Alert, name: str, event: Event) -> Mapping[str, Any]:
    """The body of a webhook."""
    at = alert.fired_at if event is Event.FIRED else alert.resolved_at
    return {
        "type": f"alert.{event.value}",
        "timestamp": clock.iso(at or alert.began_at),
        "data": {
            "alert_id": alert.id,
            "rule_id": alert.rule_id,
            "rule": alert.name,
            "service_id": alert.service_id or None,
            "service": name or None,
            "severity": alert.severity.value,
            "metric": alert.metric.value,
            "value": alert.value,
            "threshold": alert.threshold,
            "fired_at": clock.iso(alert.fired_at),
            "resolved_at": clock.iso(alert.resolved_at),
            "texts": {
                language: {
                    "summary": texts.summary(alert, name, language),
                    "likely_cause": texts.of(alert.metric, language, alert.service_id).likely,
                    "suggested_action": texts.of(alert.metric, language, alert.service_id).do,
                }
                for language in texts.LANGUAGES
            },
        },
    }
