"""A look at all services: what fires, what is told, what stays silent; and what the rules see."""

import dataclasses

import pytest

from inference.access.model import Scope
from inference.alerts import defaults, rules, texts
from inference.alerts.model import Action, ActionKind, Event, Metric, Phase, Rule, Silence, Subject
from inference.alerts.run import Evaluator, try_now
from inference.errors import InvalidField, NameExists
from inference.ids import is_id, new_id
from inference.telemetry.sample import Work
from inference.telemetry.series import Span
from tests.fakes_alerts import make_alerts

A, B = new_id(), new_id()


@pytest.fixture
def ports():
    made = make_alerts()
    made.sources.there = [
        Subject(id=A, tenant_id="t", name="a", state="running"),
        Subject(id=B, tenant_id="t", name="b", state="running"),
    ]
    return made


@pytest.fixture
def look(ports):
    evaluator = Evaluator(ports, by="me")

    def at(now):
        ports.alerts.now = now
        return evaluator.turn()

    return at


def only(ports, **changes):
    """One rule of the tenant's own, the defaults removed."""
    for rule in rules.of_tenant(ports, "t"):
        rules.delete(ports, rule)
    values = {"id": "", "tenant_id": "t", "name": "mine", "metric": Metric.QUEUE_AGE, "threshold": 10.0, "for_s": 60.0}
    return rules.create(ports, Rule(**{**values, **changes}))


def events(ports):
    return [one.event for one in ports.alerts.orders.values()]


def test_one_alert_for_each_service_that_is_told_of_once_and_once_of_its_end(ports, look):
    only(ports)
    ports.sources.ages = {A: 30.0}

    for now in (1_000.0, 1_030.0, 1_060.0, 1_065.0, 1_070.0):
        look(now)
    ports.sources.ages = {}
    look(1_080.0)

    (alert,) = ports.alerts.rows.values()
    assert (alert.service_id, alert.phase, alert.fired_at, alert.resolved_at) == (A, Phase.RESOLVED, 1_060.0, 1_080.0)
    assert events(ports) == [Event.FIRED, Event.RESOLVED]


def test_a_silenced_alert_is_seen_and_told_of_when_the_silence_ends(ports, look):
    only(ports, for_s=0.0)
    ports.rules.silence(Silence(id=new_id(), tenant_id="t", until=1_100.0, service_id=A))
    ports.sources.ages = {A: 30.0, B: 30.0}

    look(1_000.0)
    look(1_050.0)
    silent = [one.service_id for one in ports.alerts.orders.values()]
    look(1_100.0)

    assert [one.phase for one in ports.alerts.rows.values()] == [Phase.FIRING, Phase.FIRING]
    assert silent == [B]
    assert sorted(one.service_id for one in ports.alerts.orders.values()) == sorted([A, B])


def test_only_what_tells_is_ordered_at_the_end(ports, look):
    kinds = (ActionKind.LOG, ActionKind.SCALE, ActionKind.RESTART)
    only(ports, for_s=0.0, actions=tuple(Action(kind=kind, max_replicas=2) for kind in kinds))
    ports.sources.ages = {A: 30.0}

    look(1_000.0)
    ports.sources.ages = {}
    look(1_005.0)

    given = [(one.action.kind, one.event) for one in ports.alerts.orders.values()]
    assert given == [*((kind, Event.FIRED) for kind in kinds), (ActionKind.LOG, Event.RESOLVED)]


@pytest.mark.parametrize("how", ["service deleted", "rule switched off", "rule deleted"])
def test_what_nobody_looks_at_any_more_is_over(ports, look, how):
    rule = only(ports, for_s=0.0)
    ports.sources.ages = {A: 30.0}
    look(1_000.0)

    if how == "service deleted":
        ports.sources.there = []
    elif how == "rule switched off":
        rules.change(ports, rule, dataclasses.replace(rule, is_enabled=False))
    else:
        rules.delete(ports, rule)
    look(1_005.0)

    assert [one.phase for one in ports.alerts.rows.values()] == [Phase.RESOLVED]


def span(service_id, at, *, completed=0, failed=0, latency_s=0.0, **more):
    work = Work(completed=completed, failed=failed, latency_s=latency_s * completed)
    work.latencies.add([latency_s] * completed)
    return Span(service_id=service_id, step_s=1, at=at, work=work, looks=1, **more)


def test_the_defaults_fire_on_what_they_are_for_and_on_nothing_else(ports, look):
    ports.sources.rows = [span(A, at, completed=8, failed=2, latency_s=0.5) for at in range(900, 1_200)]
    ports.sources.rows += [span(B, at, completed=10, latency_s=0.05) for at in range(900, 1_200)]
    ports.sources.failures, ports.sources.spent = {A: 1}, {("t", ""): 1.2, ("t", B): 0.9}

    for now in (1_000.0, 1_030.0, 1_061.0):
        look(now)

    fired = {(one.name, one.service_id) for one in ports.alerts.rows.values() if one.phase is Phase.FIRING}
    of_a = {(name, A) for name in ("high-error-rate", "slow", "slow-p95", "load-failure")}
    assert fired == {*of_a, ("budget-soft-limit", "")}


def test_the_use_of_a_gpu_counts_only_where_it_is_measured(ports):
    rule = Rule(id="r", tenant_id="t", name="n", metric=Metric.GPU, threshold=0.5)
    for service_id, source in ((A, "nvml"), (B, "static")):
        ports.sources.rows.append(span(service_id, 990, gpu_share=0.2, gpu_source=source))

    found = {one.service_id: one.value for one in try_now(ports, rule, scope=Scope("t"))}

    assert found == {A: pytest.approx(0.2), B: None}


def test_log_entries_are_counted_by_the_minute(ports):
    ports.sources.entries = 30
    rule = Rule(id="r", tenant_id="t", name="n", metric=Metric.LOG_RATE, threshold=5, service_id=A, window_s=120.0)

    found = list(try_now(ports, rule, scope=Scope("t")))

    assert [(one.service_id, one.value) for one in found] == [(A, 15.0)]


def test_without_services_nothing_is_read(ports, look):
    ports.sources.there = []

    look(1_000.0)

    assert ports.sources.reads == 0


def test_a_default_can_be_changed_removed_and_brought_back(ports):
    (slow,) = (one for one in rules.of_tenant(ports, "t") if one.name == "slow")

    rules.change(ports, slow, dataclasses.replace(slow, threshold=2.0, resolve_threshold=None))
    changed = rules.get(ports, "t", slow.id)
    rules.delete(ports, changed)
    gone = rules.find(ports, "t", slow.id)
    back = rules.create(ports, dataclasses.replace(slow, id="", threshold=3.0))

    assert is_id(slow.id)
    assert (changed.threshold, gone, back.id, back.is_default) == (2.0, None, slow.id, True)
    with pytest.raises(NameExists):
        rules.create(ports, dataclasses.replace(slow, id=""))


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"name": " "}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"threshold": float("nan")}, "threshold"),
        ({"metric": Metric.GPU, "threshold": 50.0}, "threshold"),
        ({"resolve_threshold": 11.0}, "resolve_threshold"),
        ({"window_s": 5.0}, "window_s"),
        ({"metric": Metric.LATENCY, "window_s": 7_200.0}, "window_s"),
        ({"for_s": -1.0}, "for_s"),
        ({"metric": Metric.LOG_RATE}, "service_id"),
        ({"actions": (Action(kind=ActionKind.EMAIL, to=("a@b.example",)),)}, "actions.0.kind"),
        ({"actions": (Action(kind=ActionKind.LOG), Action(kind=ActionKind.WEBHOOK))}, "actions.1.url"),
        ({"actions": (Action(kind=ActionKind.SCALE, by=0),)}, "actions.0.by"),
        ({"actions": (Action(kind=ActionKind.SCALE),)}, "actions.0.max_replicas"),
        ({"actions": (Action(kind=ActionKind.RESTART, cooldown_s=1.0),)}, "actions.0.cooldown_s"),
    ],
)
def test_a_rule_that_cannot_work_is_refused_with_its_field(ports, changes, field):
    with pytest.raises(InvalidField) as refused:
        only(ports, **changes)

    assert refused.value.details["field"] == field


def test_every_metric_has_its_texts_in_both_languages():
    keys = {language: set(texts.CATALOGUE[language]) for language in texts.LANGUAGES}

    assert keys == {"en": set(Metric), "zh": set(Metric)}


def test_the_defaults_tell_whom_the_settings_name(ports):
    settings = dataclasses.replace(
        ports.settings, smtp_host="mail", email_to="a@b.example, c@d.example", webhook_url="https://hook.example"
    )

    shipped = defaults.rules("t", settings)

    assert {one.kind for rule in shipped for one in rule.actions} == {
        ActionKind.LOG, ActionKind.EMAIL, ActionKind.WEBHOOK,
    }  # fmt: skip
    assert shipped[0].actions[1].to == ("a@b.example", "c@d.example")
    assert {rule.name for rule in shipped} == defaults.NAMES
