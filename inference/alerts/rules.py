"""Rules as they hold: those that ship, with what a tenant has changed of them, and the tenant's own."""

import dataclasses
import math
import re
from collections.abc import Iterable, Sequence

from inference.alerts import defaults
from inference.alerts.model import SAMPLED, SHARES, Action, ActionKind, Compare, Metric, Rule, Subject
from inference.alerts.ports import AlertPorts
from inference.errors import AlertRuleNotFound, InvalidField, NameExists
from inference.ids import new_id

MOST_ACTIONS, MOST_RULES, MOST_REPLICAS = 10, 500, 1_000
NAME_CHARS, KEYWORD_CHARS = 100, 200
_ADDRESS = re.compile(r"[^\s@<>,;:\"()\[\]\\]{1,64}@[A-Za-z0-9.-]{1,255}")
_NAME = re.compile(r"[^\x00-\x1f\x7f]{1,100}")


def of_tenant(ports: AlertPorts, tenant_id: str) -> list[Rule]:
    """Each rule that this tenant has, defaults first."""
    return _overlaid(defaults.rules(tenant_id, ports.settings), ports.rules.rules(tenant_id))


def of_all(ports: AlertPorts, subjects: Iterable[Subject]) -> list[Rule]:
    """The rules of every tenant that has a service."""
    stored: dict[str, list[Rule]] = {}
    for rule in ports.rules.rules(None):
        stored.setdefault(rule.tenant_id, []).append(rule)
    tenants = sorted({subject.tenant_id for subject in subjects})
    return [
        rule
        for tenant_id in tenants
        for rule in _overlaid(defaults.rules(tenant_id, ports.settings), stored.get(tenant_id, ()))
    ]


def _overlaid(shipped: Sequence[Rule], stored: Sequence[Rule]) -> list[Rule]:
    known = {rule.id: rule for rule in stored}
    first = [known.pop(rule.id, rule) for rule in shipped]
    return [rule for rule in (*first, *known.values()) if not rule.is_removed]


def find(ports: AlertPorts, tenant_id: str, rule_id: str) -> Rule | None:
    """None for one that is unknown or removed."""
    return next((rule for rule in of_tenant(ports, tenant_id) if rule.id == rule_id), None)


def get(ports: AlertPorts, tenant_id: str, rule_id: str) -> Rule:
    """Raises AlertRuleNotFound."""
    if (found := find(ports, tenant_id, rule_id)) is None:
        raise AlertRuleNotFound(f"There is no alert rule {rule_id}.", id=rule_id)
    return found


def create(ports: AlertPorts, rule: Rule) -> Rule:
    """The rule as it is committed. One with the name of a default that was removed takes that one's place.

    Raises InvalidField, NameExists, StoreUnavailable.
    """
    check(ports, rule)
    there = of_tenant(ports, rule.tenant_id)
    if any(one.name == rule.name for one in there):
        raise NameExists(f"There is an alert rule '{rule.name}' already.", name=rule.name)
    if len(there) >= MOST_RULES:
        raise InvalidField(f"A tenant has {MOST_RULES} alert rules at most.", field="name")
    is_default = rule.name in defaults.NAMES
    rule_id = defaults.id_of(rule.tenant_id, rule.name) if is_default else new_id()
    return ports.rules.save(dataclasses.replace(rule, id=rule_id, is_default=is_default), before=None)


def change(ports: AlertPorts, before: Rule, after: Rule) -> Rule:
    """Raises InvalidField, NameExists, StoreUnavailable."""
    if before.is_default and after.name != before.name:
        raise InvalidField("A rule that ships with Penstock keeps its name; make another one.", field="name")
    if not before.is_default and after.name in defaults.NAMES:
        raise NameExists(f"'{after.name}' is the name of a rule that ships with Penstock.", name=after.name)
    check(ports, after)
    return ports.rules.save(after, before=before)


def delete(ports: AlertPorts, rule: Rule) -> None:
    """What fires of it is resolved at the next look. A default stays away until one of its name is made."""
    if rule.is_default:
        ports.rules.save(dataclasses.replace(rule, is_removed=True), before=rule)
    else:
        ports.rules.delete(rule)


def check(ports: AlertPorts, rule: Rule) -> None:
    """Whether it can be evaluated and acted on. Raises InvalidField, with the exact field."""
    if not _NAME.fullmatch(rule.name) or not rule.name.strip():
        raise InvalidField(f"`name` must have 1 to {NAME_CHARS} characters, none of them a control one.", field="name")
    _number("threshold", rule.threshold, 0, 1 if rule.metric in SHARES else 1e18)
    _number("window_s", rule.window_s, 10, 86_400)
    _number("for_s", rule.for_s, 0, 86_400)
    if rule.resolve_threshold is not None:
        _number("resolve_threshold", rule.resolve_threshold, 0, 1e18)
        is_above = rule.compare is Compare.ABOVE
        if (rule.resolve_threshold > rule.threshold) if is_above else (rule.resolve_threshold < rule.threshold):
            side = "more" if is_above else "less"
            raise InvalidField(
                f"`resolve_threshold` must not be {side} than `threshold`: it would fire and resolve at once.",
                field="resolve_threshold",
            )
    if rule.metric in SAMPLED and rule.window_s > 3_600:
        raise InvalidField(f"`window_s` must be 3600 at most for {rule.metric.value}.", field="window_s")
    if rule.metric is Metric.LOG_RATE and not rule.service_id:
        raise InvalidField("A rule on logs needs the service whose logs it reads.", field="service_id")
    if len(rule.log_keyword) > KEYWORD_CHARS:
        raise InvalidField(f"`log_keyword` has {KEYWORD_CHARS} characters at most.", field="log_keyword")
    if len(rule.actions) > MOST_ACTIONS:
        raise InvalidField(f"A rule has {MOST_ACTIONS} actions at most.", field="actions")
    for at, action in enumerate(rule.actions):
        _check_action(ports, rule, action, f"actions.{at}")


def _check_action(ports: AlertPorts, rule: Rule, action: Action, where: str) -> None:
    _number(f"{where}.cooldown_s", action.cooldown_s, 60, 86_400)
    _number(f"{where}.by", action.by, 1, 100)
    _number(f"{where}.max_replicas", action.max_replicas, 1, MOST_REPLICAS)
    match action.kind:
        case ActionKind.EMAIL:
            if not ports.settings.smtp_host:
                raise InvalidField("E-mail needs a server: set PENSTOCK_ALERTS__SMTP_HOST.", field=f"{where}.kind")
            if not action.to or len(action.to) > 20 or not all(map(_ADDRESS.fullmatch, action.to)):
                raise InvalidField("`to` must be 1 to 20 e-mail addresses.", field=f"{where}.to")
        case ActionKind.WEBHOOK:
            if not action.url:
                raise InvalidField("A webhook needs its `url`.", field=f"{where}.url")
        case ActionKind.SCALE | ActionKind.RESTART:
            if rule.metric is Metric.BUDGET_USED:
                raise InvalidField("A budget is no reason to scale or restart.", field=f"{where}.kind")
            if action.kind is ActionKind.SCALE and action.max_replicas < 2:
                raise InvalidField(
                    "`max_replicas` must be 2 or more: with less nothing would ever be added.",
                    field=f"{where}.max_replicas",
                )
        case _:
            pass


def _number(field: str, value: float, low: float, high: float) -> None:
    if not (math.isfinite(value) and low <= value <= high):
        raise InvalidField(f"`{field}` must be from {low:g} to {high:g}.", field=field)
