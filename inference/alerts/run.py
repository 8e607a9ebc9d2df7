"""One turn: values in, moves out, each written once, with the orders that it gives."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import structlog

from inference.access.model import Scope
from inference.alerts import rules as ruling
from inference.alerts.evaluate import Move, evaluate
from inference.alerts.measure import Measure
from inference.alerts.model import TELLING, Alert, Event, Order, Phase, Reading, Rule, Silence
from inference.alerts.ports import AlertPorts
from inference.clock import monotonic_s
from inference.ids import new_id, new_ids

log = structlog.get_logger(__name__)

DUTY = "alerts"
HELD_TURNS = 3
"""Who has not evaluated for so many periods is followed by another process."""
TIDY_S = 600.0
TIDY_ROWS = 1_000


class Evaluator:
    """Any number of processes may have one; one of them evaluates. Use it from one thread."""

    def __init__(self, ports: AlertPorts, *, by: str) -> None:
        self._ports = ports
        self._by = by
        self._tidied_at = monotonic_s()

    def turn(self) -> int:
        """How many alerts moved. Raises StoreUnavailable: what is not written is found again in the next turn."""
        if not self._ports.turns.hold(DUTY, by=self._by, for_s=HELD_TURNS * self._ports.settings.every_s):
            return 0
        self._tidy()
        subjects = self._ports.sources.subjects()
        active = {(alert.rule_id, alert.service_id): alert for alert in self._ports.alerts.active()}
        if not subjects and not active:
            return 0
        now = self._ports.alerts.now_s()
        wanted = [rule for rule in ruling.of_all(self._ports, subjects) if rule.is_enabled]
        silences = self._ports.rules.silences(None, now=now) if active else ()
        readings = list(Measure(self._ports.sources, subjects, wanted, now=now).readings())
        moved = sum(self._settle(one, active.get((one.rule.id, one.service_id)), silences, now) for one in readings)
        return moved + self._end_orphans(readings, active, silences, now)

    def _settle(self, reading: Reading, alert: Alert | None, silences: Iterable[Silence], now: float) -> int:
        rule, alerts = reading.rule, self._ports.alerts
        state, move = evaluate(rule, None if alert is None else alert.state, reading.value, now)
        if alert is None:
            if state is None:
                return 0
            alert = _begun(reading, now)
            if not alerts.begin(alert if move is Move.PENDING else replace(alert, phase=Phase.FIRING, fired_at=now)):
                return 0
            if move is Move.FIRED:
                alert = replace(alert, phase=Phase.FIRING, fired_at=now)
                silences = self._ports.rules.silences(rule.tenant_id, now=now)
        elif move is Move.DROPPED:
            alerts.drop(alert)
        elif move is Move.RESOLVED:
            self._resolve(alert, rule, silences, now)
        elif move is Move.FIRED:
            alert = replace(alert, phase=Phase.FIRING, fired_at=now, value=reading.value)
            alerts.fire(alert)
        elif state is not None and state.quiet_since != alert.quiet_since:
            alerts.note(replace(alert, value=state.value, quiet_since=state.quiet_since))
        if alert.phase is Phase.FIRING and move is not Move.RESOLVED and alert.told_at is None:
            self._tell(alert, rule, silences, now)
        return 0 if move is None else 1

    def _tell(self, alert: Alert, rule: Rule, silences: Iterable[Silence], now: float) -> None:
        """Once an episode; when a silence ends, an alert that still fires is told of then."""
        if not any(silence.covers(alert, now) for silence in silences):
            self._ports.alerts.tell(replace(alert, told_at=now), _orders(alert, rule, Event.FIRED))

    def _resolve(self, alert: Alert, rule: Rule | None, silences: Iterable[Silence], now: float) -> None:
        is_heard = alert.told_at is not None and not any(silence.covers(alert, now) for silence in silences)
        orders = _orders(alert, rule, Event.RESOLVED) if is_heard and rule is not None else []
        self._ports.alerts.resolve(replace(alert, phase=Phase.RESOLVED, resolved_at=now), orders)

    def _end_orphans(
        self,
        readings: Sequence[Reading],
        active: Mapping[tuple[str, str], Alert],
        silences: Iterable[Silence],
        now: float,
    ) -> int:
        """The rule was switched off, or the service is gone: nobody would ever resolve them."""
        seen = {(one.rule.id, one.service_id) for one in readings}
        orphans = [alert for key, alert in active.items() if key not in seen]
        for alert in orphans:
            if alert.phase is Phase.PENDING:
                self._ports.alerts.drop(alert)
            else:
                rule = ruling.find(self._ports, alert.tenant_id, alert.rule_id)
                self._resolve(alert, rule, silences, now)
        return len(orphans)

    def _tidy(self) -> None:
        if monotonic_s() - self._tidied_at >= TIDY_S:
            self._tidied_at = monotonic_s()
            while self._ports.alerts.forget(keep_s=self._ports.settings.keep_s, limit=TIDY_ROWS) == TIDY_ROWS:
                pass


def try_now(ports: AlertPorts, rule: Rule, *, scope: Scope) -> Iterator[Reading]:
    """What this rule finds at this moment; nothing is written. Raises StoreUnavailable."""
    mine = ports.sources.subjects(scope.tenant_id)
    look = Measure(ports.sources, mine, [rule], now=ports.alerts.now_s(), tenant_id=scope.tenant_id)
    yield from look.readings()


def _begun(reading: Reading, now: float) -> Alert:
    rule = reading.rule
    return Alert(
        id=new_id(),
        rule_id=rule.id,
        tenant_id=rule.tenant_id,
        service_id=reading.service_id,
        name=rule.name,
        metric=rule.metric,
        severity=rule.severity,
        threshold=rule.threshold,
        phase=Phase.PENDING,
        began_at=now,
        value=reading.value,
    )


def _orders(alert: Alert, rule: Rule, event: Event) -> list[Order]:
    wanted = [one for one in rule.actions if event is Event.FIRED or one.kind in TELLING]
    return [
        Order(
            id=order_id,
            alert_id=alert.id,
            rule_id=alert.rule_id,
            tenant_id=alert.tenant_id,
            service_id=alert.service_id,
            event=event,
            action=action,
        )
        for order_id, action in zip(new_ids(len(wanted)), wanted, strict=True)
    ]
