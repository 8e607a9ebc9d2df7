"""Rules, alerts and their orders as rows, on both databases; and where their values come from."""

import dataclasses
import time

import pytest

from inference.access.acting import acting
from inference.access.model import Scope
from inference.alerts.model import (
    Action,
    ActionKind,
    Alert,
    Event,
    Metric,
    Order,
    OrderState,
    Phase,
    Rule,
    Severity,
    Silence,
)
from inference.errors import NameExists, SilenceNotFound
from inference.ids import DEFAULT_TENANT, new_id
from inference.serving.model import ServiceState
from inference.store.alert_rules import SqlAlertRules
from inference.store.alert_sources import SqlAlertSources
from inference.store.alerts import SqlAlerts
from inference.store.database import Database
from inference.store.jobs import SqlJobs
from inference.store.logs import SqlLogs
from inference.store.replicas import SqlReplicas
from inference.store.services import SqlServices
from tests.contract.audits import WHO, recorded
from tests.contract.jobs import SERVICE, job, queue
from tests.contract.serving import make_replica

MINE = Scope(DEFAULT_TENANT)
HOOK = Action(kind=ActionKind.WEBHOOK, url="https://hook.example/x?token=hidden")


def rule(**changes) -> Rule:
    values = {"id": new_id(), "tenant_id": DEFAULT_TENANT, "name": "r", "metric": Metric.LATENCY, "threshold": 0.2}
    return Rule(**{**values, "actions": (HOOK,), **changes})


def alert(**changes) -> Alert:
    values = {
        "id": new_id(), "rule_id": "r1", "tenant_id": DEFAULT_TENANT, "service_id": SERVICE, "name": "r",
        "metric": Metric.LATENCY, "severity": Severity.WARNING, "threshold": 0.2, "phase": Phase.PENDING,
        "began_at": 5.0, "value": 0.5,
    }  # fmt: skip
    return Alert(**{**values, **changes})


def order(of: Alert, action=HOOK, event=Event.FIRED) -> Order:
    return Order(
        id=new_id(), alert_id=of.id, rule_id=of.rule_id, tenant_id=of.tenant_id, service_id=of.service_id,
        event=event, action=action,
    )  # fmt: skip


def test_a_rule_is_kept_as_it_is_and_each_change_is_recorded_without_its_secrets(migrated: Database) -> None:
    store, made = SqlAlertRules(migrated), rule()

    with acting(WHO):
        saved = store.save(made, before=None)
        changed = store.save(dataclasses.replace(saved, threshold=0.4), before=saved)
        with pytest.raises(NameExists):
            store.save(rule(), before=None)
        kept = store.rules(DEFAULT_TENANT)
        store.delete(changed)

    assert kept == [changed]
    assert (store.rules(None), store.rules("another")) == ([], [])
    records = [one for one in recorded(migrated) if one.object_kind == "alert_rule"]
    assert [one.action for one in records] == ["alert_rule.set", "alert_rule.set", "alert_rule.delete"]
    assert (records[1].before, records[1].after) == ({"threshold": 0.2}, {"threshold": 0.4})
    assert "hidden" not in repr(records)


def test_a_silence_is_the_tenants_and_ends_by_itself(database: Database) -> None:
    store = SqlAlertRules(database)
    made = store.silence(Silence(id=new_id(), tenant_id=DEFAULT_TENANT, until=500.0, comment="move"))

    seen = [store.silences(tenant, now=now) for tenant, now in (("another", 1.0), (None, 1.0), (DEFAULT_TENANT, 500.0))]
    with pytest.raises(SilenceNotFound):
        store.unsilence("another", made.id)
    store.unsilence(DEFAULT_TENANT, made.id)

    assert seen == [[], [made], []]
    assert store.silences(DEFAULT_TENANT, now=1.0) == []


def test_an_alert_lives_once_from_pending_to_resolved(database: Database) -> None:
    store, first = SqlAlerts(database), alert()

    begun = [store.begin(one) for one in (first, alert(), alert(service_id="other"))]
    firing = dataclasses.replace(first, phase=Phase.FIRING, fired_at=6.0)
    fired = [store.fire(firing), store.fire(firing)]
    told = dataclasses.replace(firing, told_at=7.0)
    tells = [store.tell(told, [order(told)]), store.tell(told, [order(told)])]
    over = dataclasses.replace(told, phase=Phase.RESOLVED, resolved_at=8.0)
    ends = [store.resolve(over, [order(over, event=Event.RESOLVED)]), store.resolve(over, [])]

    assert (begun, fired, tells, ends) == ([True, False, True], [True, False], [True, False], [True, False])
    assert [one.service_id for one in store.active()] == ["other"]
    found = store.list(MINE, phase=None, service_id=None, limit=10, before_id=None)
    assert found == [over]
    assert store.list(Scope("another"), phase=None, service_id=None, limit=10, before_id=None) == []
    assert [one.event for one in store.orders_of(DEFAULT_TENANT, [first.id])] == [Event.FIRED, Event.RESOLVED]
    assert store.begin(alert())  # the pair may have another one now


def test_an_order_is_leased_by_one_and_comes_back_when_its_lease_is_over(database: Database) -> None:
    store, one = SqlAlerts(database), alert(phase=Phase.FIRING)
    store.begin(one)
    store.tell(dataclasses.replace(one, told_at=1.0), [order(one)])

    ((taken, of),) = store.take(by="dead", limit=5, lease_s=0.0)
    ((again, _),) = store.take(by="me", limit=5, lease_s=60.0)
    by_the_dead = store.settle(taken, by="dead", state=OrderState.DONE, delay_s=0.0, note=None)
    failed = store.settle(again, by="me", state=OrderState.PENDING, delay_s=0.0, note="503")
    ((third, _),) = store.take(by="me", limit=5, lease_s=60.0)
    store.settle(third, by="me", state=OrderState.DONE, delay_s=0.0, note=None)

    assert (of.id, taken.id, again.id, taken.action) == (one.id, third.id, third.id, HOOK)
    assert (by_the_dead, failed) == (False, True)
    (done,) = store.orders_of(DEFAULT_TENANT, [one.id])
    assert (done.state, done.attempts, done.note) == (OrderState.DONE, 2, None)
    assert store.take(by="me", limit=5, lease_s=60.0) == []
    last = store.last_done(tenant_id=DEFAULT_TENANT, service_id=SERVICE, kind="webhook")
    assert last == pytest.approx(time.time(), abs=60.0)


def test_what_is_long_over_is_forgotten(database: Database) -> None:
    store, one = SqlAlerts(database), alert(phase=Phase.FIRING)
    store.begin(one)
    store.resolve(dataclasses.replace(one, phase=Phase.RESOLVED, resolved_at=8.0), [order(one)])
    store.begin(alert(phase=Phase.FIRING))

    gone = store.forget(keep_s=3_600.0, limit=100)

    assert gone == 1
    assert len(store.active()) == 1
    assert store.orders_of(DEFAULT_TENANT, [one.id]) == []


def test_values_come_from_queues_loads_and_moves(store: SqlJobs, database: Database) -> None:
    sources = SqlAlertSources(database, SqlLogs(database), dict)
    began = time.time() - 100.0
    queue(store, job(submitted_at=began), job(submitted_at=began + 50.0))
    made = make_replica(SERVICE)
    SqlReplicas(database).insert(made)
    generation = SqlReplicas(database).begin(made.id)
    SqlReplicas(database).note_load_failure(made.id, generation, reason="no such file")
    SqlServices(database).move(None, SERVICE, allowed=list(ServiceState), to=ServiceState.ERROR, reason="x")

    subjects = {one.id: one.state for one in sources.subjects()}
    moves = sources.moves(since=began)

    assert subjects == {SERVICE: "error"}
    assert sources.oldest_s() == {SERVICE: pytest.approx(100.0, abs=30.0)}
    assert sources.load_failures() == {SERVICE: 1}
    assert [(was, to) for _, was, to in moves[SERVICE]] == [("running", "error")]
    assert sources.moves(since=time.time() + 1.0) == {}
    assert sources.log_entries(SERVICE, level="error", keyword="x", since=began, until=time.time()) == 0
