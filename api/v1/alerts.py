"""Alerts: what fires and what has fired, the rules behind it, and silences."""

from collections.abc import Mapping
from typing import Any

from api import context, paging, times
from api.blueprint import Blueprint
from api.documented import READING, refuses
from api.schemas import alerts as schemas
from api.schemas.common import EmptyIn
from inference import clock, errors
from inference.access.model import Reach, Role
from inference.alerts import rules, texts
from inference.alerts.evaluate import is_bad
from inference.alerts.model import ActionKind, Compare, Metric, Phase, Reading, Rule, Silence
from inference.alerts.run import try_now
from inference.ids import new_id
from inference.notify import guard

blueprint = Blueprint("alerts", __name__, description="Be told when something is wrong, and what to do")

Json = dict[str, Any]
MOST_SERVICES = 1_000
COMMENT_CHARS = 500


@blueprint.route("/alerts", needs=Role.VIEWER)
@blueprint.arguments(schemas.AlertQuery(), location="query")
@refuses(*READING, errors.ServiceNotFound)
@blueprint.response(200, schemas.AlertPage())
def list_alerts(asked: Json) -> Json:
    """List what fires and what has fired, newest first, with what became of each action"""
    core, scope, limit = context.core(), context.scope(), asked["limit"]
    service_id = asked["service_id"]
    if service_id is not None:
        context.known_form(service_id, errors.ServiceNotFound, "service")
        core.serving.services.get(scope, service_id)
    found = core.alerts.alerts.list(
        scope,
        phase=None if asked["state"] is None else Phase(asked["state"]),
        service_id=service_id,
        limit=limit + 1,
        before_id=paging.before(asked["cursor"]),
    )
    now = core.alerts.alerts.now_s()
    orders = core.alerts.alerts.orders_of(scope.tenant_id, [one.id for one in found])
    silences = core.alerts.rules.silences(scope.tenant_id, now=now)
    names = _names() if found else {}
    return paging.page(
        "alerts",
        found,
        limit,
        lambda one: one.id,
        lambda one: schemas.alert(
            one, names=names, orders=orders, silences=silences, now=now, language=asked["language"]
        ),
    )


def _names() -> Mapping[str, str]:
    services = context.core().serving.services.list(context.scope(), limit=MOST_SERVICES)
    return {service.id: service.name for service in services}


@blueprint.route("/alerts/rules", needs=Role.VIEWER, reach=Reach.TENANT)
@blueprint.arguments(schemas.LanguageIn(), location="query")
@refuses(*READING)
@blueprint.response(200, schemas.RulesShown())
def list_rules(asked: Json) -> Json:
    """List the rules; those that ship with Penstock first"""
    found = rules.of_tenant(context.core().alerts, context.tenant_id())
    return {"rules": [schemas.rule(one, asked["language"]) for one in found]}


@blueprint.route("/alerts/rules", methods=["POST"], needs=Role.OPERATOR, reach=Reach.TENANT)
@blueprint.arguments(schemas.RuleIn(), example=schemas.RULE_IN_EXAMPLE)
@refuses(*READING, errors.ServiceNotFound, errors.NameExists)
@blueprint.response(201, schemas.RuleShown())
def create_rule(wanted: Json) -> Json:
    """Make a rule; it holds within seconds"""
    blank = Rule(id="", tenant_id=context.tenant_id(), name="", metric=Metric.LATENCY, threshold=0.0)
    if "compare" not in wanted and wanted["metric"] in (Metric.GPU, Metric.AVAILABILITY, Metric.THROUGHPUT):
        wanted["compare"] = Compare.BELOW.value
    made = _sound(schemas.changed(blank, wanted))
    return schemas.rule(rules.create(context.core().alerts, made))


@blueprint.route("/alerts/rules/<rule_id>", needs=Role.VIEWER, reach=Reach.TENANT)
@blueprint.arguments(schemas.LanguageIn(), location="query")
@refuses(*READING, errors.AlertRuleNotFound)
@blueprint.response(200, schemas.RuleShown())
def show_rule(asked: Json, rule_id: str) -> Json:
    """Show a rule"""
    return schemas.rule(_rule(rule_id), asked["language"])


@blueprint.route("/alerts/rules/<rule_id>", methods=["PATCH"], needs=Role.OPERATOR, reach=Reach.TENANT)
@blueprint.arguments(schemas.RuleChangeIn(), example={"threshold": 0.5, "resolve_threshold": 0.4})
@refuses(*READING, errors.AlertRuleNotFound, errors.ServiceNotFound, errors.NameExists)
@blueprint.response(200, schemas.RuleShown())
def change_rule(wanted: Json, rule_id: str) -> Json:
    """Change a rule, also one that ships with Penstock; `{"enabled": false}` switches it off"""
    before = _rule(rule_id)
    if not wanted:
        raise errors.InvalidField("Say what to change, such as `threshold` or `enabled`.", field="threshold")
    after = _sound(schemas.changed(before, wanted))
    return schemas.rule(rules.change(context.core().alerts, before, after))


@blueprint.route("/alerts/rules/<rule_id>", methods=["DELETE"], needs=Role.OPERATOR, reach=Reach.TENANT)
@refuses(errors.AlertRuleNotFound)
@blueprint.response(204)
def delete_rule(rule_id: str) -> None:
    """Remove a rule; what fires of it is over. One that ships with Penstock comes back when it is made again"""
    rules.delete(context.core().alerts, _rule(rule_id))


@blueprint.route("/alerts/rules/<rule_id>/test", methods=["POST"], needs=Role.VIEWER, reach=Reach.TENANT)
@blueprint.arguments(EmptyIn(), required=False)
@refuses(*READING, errors.AlertRuleNotFound)
@blueprint.response(200, schemas.Tried())
def try_rule(_: Json, rule_id: str) -> Json:
    """Say what a rule finds at this moment, and whether it would fire; nothing is changed and nobody is told"""
    rule, names = _rule(rule_id), _names()
    found = [_found(one, names) for one in try_now(context.core().alerts, rule, scope=context.scope())]
    return {"rule_id": rule.id, "would_fire": any(one["would_fire"] for one in found), "services": found}


def _found(reading: Reading, names: Mapping[str, str]) -> Json:
    rule, value = reading.rule, reading.value
    fires = value is not None and is_bad(rule, value)
    what, shown = texts.of(rule.metric, "en", reading.service_id).what, texts.shown(rule.metric, value)
    limit = f"{rule.compare.value} {texts.shown(rule.metric, rule.threshold)}"
    if value is None:
        because = f"Nothing can be said of {what} over the last {rule.window_s:g} s: nothing was measured."
    elif fires:
        when = f"after {rule.for_s:g} s of it" if rule.for_s else "now"
        because = f"It would fire {when}, because {what} is {shown}, which is {limit}."
    else:
        because = f"It would not fire, because {what} is {shown}, which is not {limit}."
    return {
        "service_id": reading.service_id or None,
        "service": names.get(reading.service_id),
        "value": value,
        "would_fire": fires,
        "because": because,
    }


def _rule(rule_id: str) -> Rule:
    context.known_form(rule_id, errors.AlertRuleNotFound, "alert rule")
    return rules.get(context.core().alerts, context.tenant_id(), rule_id)


def _sound(rule: Rule) -> Rule:
    """The rule, if its service is the caller's and webhooks may go there. Raises ServiceNotFound, InvalidField."""
    _require_service(rule.service_id)
    for at, action in enumerate(rule.actions):
        if action.kind is ActionKind.WEBHOOK and action.url:
            try:
                guard.check_early(action.url, allowed=context.may_call)
            except errors.CallbackRefused as error:
                why = error.message.partition(": ")[2]
                raise errors.InvalidField(f"The `url` is refused: {why}", field=f"actions.{at}.url") from None
    return rule


def _require_service(service_id: str | None) -> None:
    if service_id:
        context.known_form(service_id, errors.ServiceNotFound, "service")
        context.core().serving.services.get(context.scope(), service_id)


@blueprint.route("/alerts/silences", needs=Role.VIEWER, reach=Reach.TENANT)
@refuses()
@blueprint.response(200, schemas.SilencesShown())
def list_silences() -> Json:
    """List the silences that are not over"""
    ports = context.core().alerts
    found = ports.rules.silences(context.tenant_id(), now=ports.alerts.now_s())
    return {"silences": [schemas.silence(one) for one in found]}


@blueprint.route("/alerts/silences", methods=["POST"], needs=Role.OPERATOR, reach=Reach.TENANT)
@blueprint.arguments(schemas.SilenceIn(), example={"for_s": 3600, "comment": "moving the node"})
@refuses(*READING, errors.AlertRuleNotFound, errors.ServiceNotFound)
@blueprint.response(201, schemas.SilenceShown())
def silence_alerts(wanted: Json) -> Json:
    """Silence alerts for a while: they are listed, and give no orders; what still fires at the end is told of then"""
    ports = context.core().alerts
    if wanted["rule_id"]:
        _rule(wanted["rule_id"])
    _require_service(wanted["service_id"])
    if len(wanted["comment"]) > COMMENT_CHARS:
        raise errors.InvalidField(f"`comment` has {COMMENT_CHARS} characters at most.", field="comment")
    made = Silence(
        id=new_id(),
        tenant_id=context.tenant_id(),
        until=_until(wanted["until"], wanted["for_s"], ports.alerts.now_s()),
        rule_id=wanted["rule_id"] or "",
        service_id=wanted["service_id"] or "",
        severity=wanted["severity"] or "",
        comment=wanted["comment"],
    )
    return schemas.silence(ports.rules.silence(made))


def _until(text: str | None, for_s: float | None, now: float) -> float:
    if (text is None) == (for_s is None):
        raise errors.InvalidField("A silence needs either `until` or `for_s`.", field="until")
    if for_s is not None:
        if not 1 <= for_s <= 31_536_000:
            raise errors.InvalidField("`for_s` must be from 1 to 31536000.", field="for_s")
        return now + for_s
    until = times.epoch_of(text, "until") or 0.0
    if until <= now:
        raise errors.InvalidField(f"`until` must be in the future; it is {clock.iso(now)} now.", field="until")
    return until


@blueprint.route("/alerts/silences/<silence_id>", methods=["DELETE"], needs=Role.OPERATOR, reach=Reach.TENANT)
@refuses(errors.SilenceNotFound)
@blueprint.response(204)
def end_silence(silence_id: str) -> None:
    """End a silence now"""
    context.known_form(silence_id, errors.SilenceNotFound, "silence")
    context.core().alerts.rules.unsilence(context.tenant_id(), silence_id)
