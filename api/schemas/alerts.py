"""Alert rules, alerts and silences on the wire."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import marshmallow as ma
from marshmallow import fields, validate

from api.schemas.access import Amount
from api.schemas.common import (
    AN_ID,
    ANOTHER_ID,
    Flag,
    PageIn,
    Text,
    WholeNumber,
    id_field,
    id_in,
    next_field,
    time_field,
)
from inference import clock
from inference.alerts import texts
from inference.alerts.model import (
    Action,
    ActionKind,
    Alert,
    Compare,
    Metric,
    Order,
    OrderState,
    Phase,
    Rule,
    Severity,
    Silence,
)
from inference.clock import ISO_FORM
from inference.logs.model import Level

NOT_EMPTY = validate.Length(1, error="It must be an id, or null.")
SHOWN_PHASES = (Phase.FIRING, Phase.RESOLVED)
RULE_IN_EXAMPLE = {
    "name": "digits are slow",
    "service_id": AN_ID,
    "metric": "latency_p95",
    "threshold": 0.2,
    "resolve_threshold": 0.15,
    "for_s": 120,
    "severity": "warning",
    "actions": [{"kind": "log"}, {"kind": "scale", "by": 1, "max_replicas": 4}],
}


def _one_of(kinds: type[Any]) -> validate.OneOf:
    return validate.OneOf([one.value for one in kinds], error="It must be one of {choices}.")


def _language() -> fields.String:
    return fields.String(
        load_default="en",
        validate=validate.OneOf(texts.LANGUAGES, error="It must be one of {choices}."),
        metadata={"description": "Of the texts"},
    )


class ActionIn(ma.Schema):
    """`email` needs `to`, `webhook` needs `url`; `scale` and `restart` act on the service that the alert is about."""

    kind = fields.String(required=True, validate=_one_of(ActionKind))
    to = fields.List(Text(), metadata={"description": "E-mail addresses", "example": ["ops@example.org"]})
    url = Text(metadata={"description": "Signed as the webhooks of tasks are", "example": "https://example.org/hook"})
    by = WholeNumber(metadata={"description": "Replicas to add", "minimum": 1, "maximum": 100})
    max_replicas = WholeNumber(metadata={"description": "No more than these", "minimum": 1, "maximum": 1000})
    cooldown_s = Amount(metadata={"description": "Not again within", "minimum": 60, "maximum": 86_400})


class RuleChangeIn(ma.Schema):
    """What is left out stays as it is; null takes `resolve_threshold` back."""

    name = Text(metadata={"minLength": 1, "maxLength": 100})
    service_id = id_in("Of this service; null: of each service by itself", allow_none=True, validate=NOT_EMPTY)
    metric = fields.String(validate=_one_of(Metric))
    compare = fields.String(validate=_one_of(Compare), metadata={"description": "On which side it is bad"})
    threshold = Amount(metadata={"description": "Shares from 0 to 1, durations in seconds"})
    resolve_threshold = Amount(allow_none=True, metadata={"description": "Firing is over when it is back past this"})
    window_s = Amount(metadata={"description": "Over which it is measured", "minimum": 10, "maximum": 86_400})
    for_s = Amount(metadata={"description": "How long it must be bad before it fires", "minimum": 0, "maximum": 86_400})
    severity = fields.String(validate=_one_of(Severity))
    actions = fields.List(fields.Nested(ActionIn()), metadata={"maxItems": 10})
    log_level = fields.String(validate=_one_of(Level), metadata={"description": "For log_rate: this one and graver"})
    log_keyword = Text(metadata={"description": "For log_rate: words that an entry must have", "maxLength": 200})
    enabled = Flag()


class RuleIn(RuleChangeIn):
    """A metric over a window, a threshold, and for how long."""

    name = Text(required=True, metadata={"minLength": 1, "maxLength": 100})
    metric = fields.String(required=True, validate=_one_of(Metric))
    threshold = Amount(required=True, metadata={"description": "Shares from 0 to 1, durations in seconds"})


class ActionShown(ma.Schema):
    kind = fields.String()
    to = fields.List(fields.String())
    url = fields.String()
    by = fields.Integer()
    max_replicas = fields.Integer()
    cooldown_s = fields.Float()


class RuleShown(ma.Schema):
    rule_id = id_field("The rule")
    name = fields.String()
    service_id = fields.String(allow_none=True, metadata={"description": "Null: each service by itself"})
    metric = fields.String()
    compare = fields.String()
    threshold = fields.Float()
    resolve_threshold = fields.Float(allow_none=True)
    window_s = fields.Float()
    for_s = fields.Float()
    severity = fields.String()
    actions = fields.List(fields.Nested(ActionShown()))
    log_level = fields.String()
    log_keyword = fields.String()
    enabled = fields.Boolean()
    is_default = fields.Boolean(metadata={"description": "It ships with Penstock"})
    likely_cause = fields.String()
    suggested_action = fields.String()


class LanguageIn(ma.Schema):
    language = _language()


class RulesShown(ma.Schema):
    rules = fields.List(fields.Nested(RuleShown()))


class FoundShown(ma.Schema):
    service_id = fields.String(allow_none=True)
    service = fields.String(allow_none=True)
    value = fields.Float(allow_none=True, metadata={"description": "Null: there is nothing to measure"})
    would_fire = fields.Boolean()
    because = fields.String()


class Tried(ma.Schema):
    rule_id = id_field("The rule")
    would_fire = fields.Boolean(metadata={"description": "For any service, once it has been so for `for_s`"})
    services = fields.List(fields.Nested(FoundShown()))


class AlertQuery(PageIn):
    state = fields.String(
        load_default=None, validate=validate.OneOf([one.value for one in SHOWN_PHASES], error="It must be {choices}.")
    )
    service_id = id_in("Of this service", load_default=None)
    language = _language()


class OrderShown(ma.Schema):
    kind = fields.String()
    event = fields.String(metadata={"description": "fired or resolved"})
    state = fields.String(validate=_one_of(OrderState))
    attempts = fields.Integer()
    note = fields.String(allow_none=True, metadata={"description": "Why it failed, or had nothing to do"})
    settled_at = time_field("When it was over")


class AlertShown(ma.Schema):
    alert_id = id_field("The alert")
    rule_id = id_field("Its rule; it may be deleted since")
    name = fields.String()
    service_id = fields.String(allow_none=True)
    service = fields.String(allow_none=True, metadata={"description": "Null when it was deleted"})
    state = fields.String()
    severity = fields.String()
    metric = fields.String()
    value = fields.Float(allow_none=True, metadata={"description": "When it fired"})
    threshold = fields.Float()
    silenced = fields.Boolean()
    began_at = time_field("Since when it was bad", nullable=False)
    fired_at = time_field("Since when it fires")
    resolved_at = time_field("When it was over")
    summary = fields.String()
    likely_cause = fields.String()
    suggested_action = fields.String()
    actions = fields.List(fields.Nested(OrderShown()))


class AlertPage(ma.Schema):
    alerts = fields.List(fields.Nested(AlertShown()))
    next = next_field()


class SilenceIn(ma.Schema):
    """What is left out matches everything; `until` or `for_s`."""

    rule_id = id_in("Alerts of this rule", load_default=None, allow_none=True, validate=NOT_EMPTY)
    service_id = id_in("Alerts of this service", load_default=None, allow_none=True, validate=NOT_EMPTY)
    severity = fields.String(load_default=None, allow_none=True, validate=_one_of(Severity))
    until = fields.String(load_default=None, metadata={"pattern": f"^{ISO_FORM}$", "description": "When it ends"})
    for_s = Amount(load_default=None, metadata={"minimum": 1, "maximum": 31_536_000})
    comment = Text(load_default="", metadata={"maxLength": 500})


class SilenceShown(ma.Schema):
    silence_id = id_field("The silence")
    rule_id = fields.String(allow_none=True, metadata={"example": ANOTHER_ID})
    service_id = fields.String(allow_none=True)
    severity = fields.String(allow_none=True)
    until = time_field("When it ends", nullable=False)
    comment = fields.String()
    created_at = time_field("When it was made", nullable=False)


class SilencesShown(ma.Schema):
    silences = fields.List(fields.Nested(SilenceShown()))


_PARTS = {
    ActionKind.EMAIL: ("to",),
    ActionKind.WEBHOOK: ("url",),
    ActionKind.SCALE: ("by", "max_replicas", "cooldown_s"),
    ActionKind.RESTART: ("cooldown_s",),
}


def rule(one: Rule, language: str = "en") -> dict[str, Any]:
    told = texts.of(one.metric, language, one.service_id)
    shown = {
        name: getattr(one, name)
        for name in ("name", "threshold", "resolve_threshold", "window_s", "for_s", "log_level", "log_keyword")
    }
    return {
        "rule_id": one.id,
        **shown,
        "service_id": one.service_id or None,
        "metric": one.metric.value,
        "compare": one.compare.value,
        "severity": one.severity.value,
        "actions": [_action(action) for action in one.actions],
        "enabled": one.is_enabled,
        "is_default": one.is_default,
        "likely_cause": told.likely,
        "suggested_action": told.do,
    }


def _action(one: Action) -> dict[str, Any]:
    return {"kind": one.kind.value, **{name: getattr(one, name) for name in _PARTS.get(one.kind, ())}}


def changed(before: Rule, wanted: Mapping[str, Any]) -> Rule:
    """`before` with what a request says."""
    kinds = {"metric": Metric, "compare": Compare, "severity": Severity}
    names = {"enabled": "is_enabled"}
    values: dict[str, Any] = {}
    for name, value in wanted.items():
        if name == "actions":
            value = tuple(
                Action(**{**one, "kind": ActionKind(one["kind"]), "to": tuple(one.get("to", ()))}) for one in value
            )
        elif name == "service_id":
            value = value or ""
        elif name in kinds:
            value = kinds[name](value)
        values[names.get(name, name)] = value
    return dataclasses.replace(before, **values)


def alert(
    one: Alert,
    *,
    names: Mapping[str, str],
    orders: Sequence[Order],
    silences: Sequence[Silence],
    now: float,
    language: str,
) -> dict[str, Any]:
    told = texts.of(one.metric, language, one.service_id)
    service = names.get(one.service_id)
    return {
        "alert_id": one.id,
        "rule_id": one.rule_id,
        "name": one.name,
        "service_id": one.service_id or None,
        "service": service,
        "state": one.phase.value,
        "severity": one.severity.value,
        "metric": one.metric.value,
        "value": one.value,
        "threshold": one.threshold,
        "silenced": one.phase is Phase.FIRING and any(silence.covers(one, now) for silence in silences),
        "began_at": clock.iso(one.began_at),
        "fired_at": clock.iso(one.fired_at),
        "resolved_at": clock.iso(one.resolved_at),
        "summary": texts.summary(one, service or "", language),
        "likely_cause": told.likely,
        "suggested_action": told.do,
        "actions": [_order(order) for order in orders if order.alert_id == one.id],
    }


def _order(one: Order) -> dict[str, Any]:
    return {
        "kind": one.action.kind.value,
        "event": one.event.value,
        "state": one.state.value,
        "attempts": one.attempts,
        "note": one.note,
        "settled_at": clock.iso(one.settled_at),
    }


def silence(one: Silence) -> dict[str, Any]:
    return {
        "silence_id": one.id,
        "rule_id": one.rule_id or None,
        "service_id": one.service_id or None,
        "severity": one.severity or None,
        "until": clock.iso(one.until),
        "comment": one.comment,
        "created_at": clock.iso(one.created_at),
    }
