"""`penstock alert`: what fires, the rules behind it, and silences."""

from typing import Any

import click

from api.cli.asking import Call, read_object, shared
from api.cli.output import fields, rows_of, say, table

ALERTS = {
    "alert_id": "ID",
    "severity": "SEVERITY",
    "state": "STATE",
    "fired_at": "SINCE",
    "silenced": "SILENCED",
    "summary": "WHAT",
    "suggested_action": "WHAT TO DO",
}
RULES = {
    "rule_id": "ID",
    "name": "NAME",
    "service_id": "SERVICE",
    "metric": "METRIC",
    "compare": "BAD",
    "threshold": "LIMIT",
    "for_s": "FOR s",
    "severity": "SEVERITY",
    "does": "ACTIONS",
    "enabled": "ON",
}
SILENCES = {
    "silence_id": "ID",
    "rule_id": "RULE",
    "service_id": "SERVICE",
    "severity": "SEVERITY",
    "until": "UNTIL",
    "comment": "COMMENT",
}
FOUND = {"service": "SERVICE", "value": "VALUE", "would_fire": "FIRES", "because": "BECAUSE"}
SEVERITIES = click.Choice(["info", "warning", "critical"])


@click.group()
def alert() -> None:
    """Show what fires, set the rules behind it, and silence it."""


@alert.command("list")
@click.option("--state", type=click.Choice(["firing", "resolved"]), default=None)
@click.option("--service", default=None, help="Of this service, by id or name.")
@click.option("--language", type=click.Choice(["en", "zh"]), default="en")
@click.option("--limit", type=click.IntRange(1, 1000), default=100)
@click.option("--cursor", default=None, help="Where the page before ended.")
@shared
def list_alerts(call: Call, service: str | None, **asked: Any) -> None:
    """List what fires and what has fired, newest first."""
    service_id = None if service is None else call.service_id(service)
    body = call.client.alerts("GET", service_id=service_id, **asked)
    call.answer(body, lambda _: table(ALERTS, rows_of(body, "alerts"), nothing="Nothing fires."))
    if (following := body.get("next")) and not call.is_json:
        say(f"More: --cursor {following}")


@alert.command("rules")
@shared
def list_rules(call: Call) -> None:
    """List the rules; those that ship with Penstock first."""
    body = call.client.alerts("GET", "/rules")
    rows = [{**one, "does": ", ".join(each["kind"] for each in one["actions"])} for one in rows_of(body, "rules")]
    call.answer(body, lambda _: table(RULES, rows, nothing="No rule."))


@alert.command("show")
@click.argument("rule", metavar="RULE")
@shared
def show_rule(call: Call, rule: str) -> None:
    """Show RULE, by id or name."""
    call.answer(call.client.alerts("GET", f"/rules/{_rule_id(call, rule)}"), fields)


def _settings(command: Any) -> Any:
    """What a rule may be given."""
    for option in reversed(
        (
            click.option("--threshold", type=float, default=None, help="Shares from 0 to 1, durations in seconds."),
            click.option("--resolve-threshold", type=float, default=None, help="Over when it is back past this."),
            click.option("--for", "for_s", type=float, default=None, help="Seconds that it must be bad before."),
            click.option("--window", "window_s", type=float, default=None, help="Seconds that it is measured over."),
            click.option("--compare", type=click.Choice(["above", "below"]), default=None, help="Where it is bad."),
            click.option("--severity", type=SEVERITIES, default=None),
            click.option("--service", default=None, help="Of this service alone, by id or name."),
            click.option("--log-level", default=None, help="For log_rate: that one and graver."),
            click.option("--log-keyword", default=None, help="For log_rate: words that an entry must have."),
            click.option(
                "--action",
                "actions",
                multiple=True,
                help='log, restart, or JSON such as {"kind": "email", "to": ["ops@example.org"]}. May be repeated.',
            ),
        )
    ):
        command = option(command)
    return command


def _body(call: Call, service: str | None, actions: tuple[str, ...], given: dict[str, Any]) -> dict[str, Any]:
    body = {name: value for name, value in given.items() if value is not None}
    if service is not None:
        body["service_id"] = call.service_id(service)
    if actions:
        body["actions"] = [{"kind": one} if one.isalpha() else read_object(one, option="--action") for one in actions]
    return body


@alert.command("add")
@click.argument("name")
@click.argument("metric")
@_settings
@shared
def add_rule(call: Call, name: str, metric: str, service: str | None, actions: tuple[str, ...], **given: Any) -> None:
    """Make a rule called NAME on METRIC, such as latency_p95, error_ratio, queue_age, availability or log_rate."""
    body = {"name": name, "metric": metric, **_body(call, service, actions, given)}
    call.answer(call.client.alerts("POST", "/rules", body=body), fields)


@alert.command("set")
@click.argument("rule", metavar="RULE")
@_settings
@click.option("--on/--off", "enabled", default=None, help="Switch it on or off.")
@shared
def change_rule(call: Call, rule: str, service: str | None, actions: tuple[str, ...], **given: Any) -> None:
    """Change RULE, by id or name; also one that ships with Penstock."""
    body = _body(call, service, actions, given)
    call.answer(call.client.alerts("PATCH", f"/rules/{_rule_id(call, rule)}", body=body), fields)


@alert.command("delete")
@click.argument("rule", metavar="RULE")
@shared
def delete_rule(call: Call, rule: str) -> None:
    """Remove RULE, by id or name."""
    rule_id = _rule_id(call, rule)
    call.client.alerts("DELETE", f"/rules/{rule_id}")
    if call.is_json:
        call.answer({"rule_id": rule_id})
    else:
        say(f"The rule {rule} is removed.")


@alert.command("test")
@click.argument("rule", metavar="RULE")
@shared
def try_rule(call: Call, rule: str) -> None:
    """Say whether RULE would fire now, and why; nobody is told."""
    body = call.client.alerts("POST", f"/rules/{_rule_id(call, rule)}/test", body={})
    call.answer(body, lambda _: table(FOUND, rows_of(body, "services"), nothing="There is no service."))


@alert.command("silences")
@shared
def list_silences(call: Call) -> None:
    """List the silences that are not over."""
    body = call.client.alerts("GET", "/silences")
    call.answer(body, lambda _: table(SILENCES, rows_of(body, "silences"), nothing="Nothing is silenced."))


@alert.command("silence")
@click.option("--for", "for_s", type=click.FloatRange(1), default=None, help="Seconds.")
@click.option("--until", default=None, help="ISO 8601.")
@click.option("--rule", default=None, help="Alerts of this rule, by id or name.")
@click.option("--service", default=None, help="Alerts of this service, by id or name.")
@click.option("--severity", type=SEVERITIES, default=None)
@click.option("--comment", default=None)
@shared
def silence(call: Call, rule: str | None, service: str | None, **given: Any) -> None:
    """Silence alerts for a while: they are listed, and nobody is told."""
    body = _body(call, service, (), given)
    if rule is not None:
        body["rule_id"] = _rule_id(call, rule)
    call.answer(call.client.alerts("POST", "/silences", body=body), fields)


@alert.command("unsilence")
@click.argument("silence_id", metavar="ID")
@shared
def end_silence(call: Call, silence_id: str) -> None:
    """End the silence ID now."""
    call.client.alerts("DELETE", f"/silences/{silence_id}")
    if call.is_json:
        call.answer({"silence_id": silence_id})
    else:
        say(f"The silence {silence_id} is over.")


def _rule_id(call: Call, name: str) -> str:
    for one in rows_of(call.client.alerts("GET", "/rules"), "rules"):
        if name in (one["name"], one["rule_id"]):
            return str(one["rule_id"])
    return name
