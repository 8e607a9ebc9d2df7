"""A snapshot brings the configuration back: whole or not at all, on either database, and from one to the other."""

import dataclasses
import json
from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inference.access.acting import acting
from inference.access.model import ApiKey, Limits, Role, Scope
from inference.backup import archive, make
from inference.backup.model import Action, Archive, Origin
from inference.backup.ports import BackupPorts
from inference.backup.restore import restore
from inference.costs.model import Price, Purchase
from inference.errors import ArchiveInvalid, DataRefused, RestoreRefused
from inference.ids import new_id
from inference.serving import config as configs
from inference.serving.model import ServiceState
from inference.settings import Settings, StoreSettings, load
from inference.store import migrate
from inference.store.alert_rules import SqlAlertRules
from inference.store.budgets import SqlBudgets, SqlPrices
from inference.store.database import Database
from inference.store.keys import SqlKeys
from inference.store.models import SqlModels
from inference.store.reports import SqlReports
from inference.store.services import SqlServices
from inference.store.tenants import SqlTenants
from inference.store.ticks import SqlTicks
from tests.contract.audits import WHO, recorded
from tests.contract.backups import add_model, add_rule, add_schedule, add_service, add_tenant, make_ports, set_budget
from workers.tasks.control import run_backup

SERVICES = st.fixed_dictionaries(
    {},
    optional={
        "replicas": st.integers(0, 64),
        "instances": st.integers(1, 32),
        "timeout_s": st.floats(0.001, 86_400),
        "head_start_s": st.just("strict") | st.integers(0, 10_000),
        "max_batch": st.none() | st.integers(1, 4096),
        "priority": st.integers(1, 10),
        "idle_ttl_s": st.none() | st.floats(0, 1000),
        "queue_while_stopped": st.booleans(),
        "resource_requirements": st.fixed_dictionaries(
            {}, optional={"gpu": st.just(1), "gpu_memory": st.sampled_from(["2Gi", 5]), "cpu": st.floats(0, 16)}
        ),
        "auto_scaling": st.fixed_dictionaries(
            {"enabled": st.booleans()},
            optional={
                "min_replicas": st.integers(0, 5),
                "max_replicas": st.integers(5, 64),
                "schedules": st.just([{"cron": "0 8 * * 1-5", "min_replicas": 2}]),
            },
        ),
    },
)
LEVELS = st.fixed_dictionaries(
    {"config": SERVICES, "threshold": st.floats(0, 1e6), "hard": st.floats(0, 1e9), "scoped": st.booleans()}
)
FEW = settings(
    max_examples=8, deadline=None, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture
def ports(database: Database) -> BackupPorts:
    return make_ports(database)


def sections_of(ports: BackupPorts, tenant_id: str = "") -> dict:
    return json.loads(archive.write(make.read(ports, tenant_id=tenant_id)))["sections"]


def kept_of(ports: BackupPorts, tenant_id: str = "", **options: bool) -> Archive:
    """As a file would hold it."""
    return archive.read(archive.write(make.read(ports, tenant_id=tenant_id, **options)))


def without_times(sections: dict) -> dict:
    return {
        name: [{field: value for field, value in one.items() if field != "updated_at"} for one in objects]
        for name, objects in sections.items()
    }


def counts(steps) -> Counter:
    return Counter(step.action for step in steps)


@FEW
@given(before=LEVELS, after=LEVELS)
def test_what_was_changed_is_as_it_was_again(database: Database, ports: BackupPorts, before, after) -> None:
    tenant_id = add_tenant(database, f"t{new_id()}")
    model = add_model(database, tenant_id)
    service = add_service(database, model, "one", before["config"])
    scope, services = Scope(tenant_id), SqlServices(database)
    rule = add_rule(database, tenant_id, "slow", service_id=service.id, threshold=before["threshold"])
    set_budget(database, tenant_id, before["hard"], service_id=service.id if before["scoped"] else "")
    kept, was = kept_of(ports, tenant_id), sections_of(ports, tenant_id)
    services.configure(scope, service.id, config=configs.read(after["config"]), replicas_only=False)
    SqlAlertRules(database).save(dataclasses.replace(rule, name="now", threshold=after["threshold"]), before=rule)
    set_budget(database, tenant_id, after["hard"], service_id=service.id if before["scoped"] else "")

    restore(ports, kept, tenant_id=tenant_id, is_dry=False)
    again = restore(ports, kept, tenant_id=tenant_id)

    assert without_times(sections_of(ports, tenant_id)) == without_times(was)
    assert services.get(scope, service.id).config == service.config
    assert set(counts(again)) <= {Action.UNCHANGED}


def test_a_restore_is_tried_first_and_says_each_field(database: Database, ports: BackupPorts) -> None:
    model = add_model(database, add_tenant(database, "acme", replicas=4))
    service = add_service(database, model, "one", {"replicas": 1})
    kept = kept_of(ports)
    changed = configs.change(service.config, {"replicas": 3, "priority": 9})
    SqlServices(database).configure(Scope("acme"), service.id, config=changed, replicas_only=False)
    SqlTenants(database).change("acme", limits=Limits(replicas=8))
    now = sections_of(ports)

    steps = {step.section: step for step in restore(ports, kept, tenant_id="")}

    fields = {change.field: (change.before, change.after) for change in steps["services"].changes}
    assert fields["config.replicas"] == (3, 1)
    assert fields["config.priority"] == (9, 5)
    assert not any(field.startswith("config.raw.") for field in fields)
    assert [(one.field, one.before, one.after) for one in steps["tenants"].changes] == [("limits.replicas", 8, 4)]
    assert steps["models"].action is Action.UNCHANGED
    assert sections_of(ports) == now


def test_what_was_deleted_comes_back_under_its_id_and_is_not_started(database: Database, ports: BackupPorts) -> None:
    model = add_model(database, add_tenant(database, "acme"))
    heavy = add_service(database, model, "heavy", {})
    light = add_service(database, model, "light", {"fallback_service_id": heavy.id})
    SqlPrices(database).put([Price(device_kind="l4", purchase=Purchase.SPOT, per_hour=0.3)])
    kept, scope = kept_of(ports), Scope("acme")
    for one in (light, heavy):
        SqlServices(database).delete(scope, one.id)
    SqlModels(database).delete("acme", model.id)
    SqlPrices(database).put([Price(device_kind="l4", purchase=Purchase.SPOT, per_hour=0.9)])

    with acting(WHO):
        steps = restore(ports, kept, tenant_id="", is_dry=False, source="of a test")

    back = SqlServices(database).get(scope, light.id)
    assert (back.state, back.config, back.model_id) == (ServiceState.PENDING, light.config, model.id)
    assert SqlModels(database).get("acme", model.id) == model
    assert counts(steps) == {Action.UNCHANGED: 1, Action.CREATE: 3, Action.CHANGE: 1}
    assert [one["per_hour"] for one in sections_of(ports)["prices"]] == [0.3]
    told = Counter(record.action for record in recorded(database))
    assert told == {"model.restore": 1, "service.restore": 2, "price.restore": 1, "backup.restore": 1}


def test_what_was_made_anew_under_its_name_is_taken_for_the_same(database: Database, ports: BackupPorts) -> None:
    model = add_model(database, add_tenant(database, "acme"))
    service = add_service(database, model, "one", {"replicas": 2})
    add_rule(database, "acme", "slow", service_id=service.id, threshold=1.0)
    kept = kept_of(ports, "acme")
    SqlServices(database).delete(Scope("acme"), service.id)
    anew = add_service(database, model, "one", {})

    restore(ports, kept, tenant_id="acme", is_dry=False)

    (found,) = SqlServices(database).list(Scope("acme"))
    (rule,) = SqlAlertRules(database).rules("acme")
    assert (found.id, found.config.replicas) == (anew.id, 2)
    assert rule.service_id == anew.id


def test_a_model_without_its_artefact_is_refused_and_so_is_what_needs_it(
    database: Database, ports: BackupPorts
) -> None:
    model = add_model(database, add_tenant(database, "acme"), sha256="f" * 64)
    service = add_service(database, model, "one", {})
    add_rule(database, "acme", "slow", service_id=service.id)
    add_rule(database, "acme", "of all")
    kept = kept_of(ports, "acme")
    SqlServices(database).delete(Scope("acme"), service.id)
    SqlModels(database).delete("acme", model.id)
    for rule in SqlAlertRules(database).rules("acme"):
        SqlAlertRules(database).delete(rule)

    with pytest.raises(RestoreRefused, match="3 objects cannot be restored"):
        restore(ports, kept, tenant_id="acme", is_dry=False)
    nothing = sections_of(ports, "acme")
    steps = restore(ports, kept, tenant_id="acme", is_dry=False, skips_refused=True)

    assert sum(map(len, nothing.values())) == 0
    refused = {step.section: (step.field, step.reason) for step in steps if step.action is Action.REFUSED}
    assert refused["models"] == (
        "sha256",
        "The artefact of digits 1.0.0 is not there any more; register the model again.",
    )
    assert refused["services"][0] == "model_id"
    assert refused["alert_rules"][0] == "service_id"
    assert [rule.name for rule in SqlAlertRules(database).rules("acme")] == ["of all"]


def test_a_schedule_of_reports_comes_back_and_is_due_at_its_next_time(database: Database, ports: BackupPorts) -> None:
    model = add_model(database, add_tenant(database, "acme"))
    service = add_service(database, model, "one", {})
    schedule = add_schedule(database, "acme", service_id=service.id)
    kept, scope, reports = kept_of(ports, "acme"), Scope("acme"), SqlReports(database)
    reports.unschedule(scope, schedule.id)

    first = restore(ports, kept, tenant_id="acme", is_dry=False)
    again = restore(ports, kept, tenant_id="acme")

    (found,) = reports.schedules(scope, service_id=None)
    assert dataclasses.replace(found, next_at=schedule.next_at) == schedule
    assert 0 < found.next_at - reports.now_s() <= 90_000
    assert (counts(first)[Action.CREATE], set(counts(again))) == (1, {Action.UNCHANGED})


def test_a_service_that_its_tenant_may_not_have_any_more_is_refused(database: Database, ports: BackupPorts) -> None:
    model = add_model(database, add_tenant(database, "acme"))
    service, scope = add_service(database, model, "one", {"replicas": 5}), Scope("acme")
    kept, services = kept_of(ports, "acme"), SqlServices(database)
    services.move(scope, service.id, allowed=[ServiceState.PENDING], to=ServiceState.DEPLOYING, reason="started")
    smaller = configs.change(service.config, {"replicas": 1})
    services.configure(scope, service.id, config=smaller, replicas_only=True)
    SqlTenants(database).change("acme", limits=Limits(replicas=2))

    steps = {step.section: step for step in restore(ports, kept, tenant_id="acme")}

    refused = steps["services"]
    assert (refused.action, refused.field) == (Action.REFUSED, "config.replicas")
    assert "may have 2 replicas" in (refused.reason or "")


def test_a_service_does_not_go_back_to_a_model_that_takes_other_inputs(database: Database, ports: BackupPorts) -> None:
    old = add_model(database, add_tenant(database, "acme"), "digits")
    service, scope = add_service(database, old, "one", {}), Scope("acme")
    kept = kept_of(ports, "acme")
    SqlServices(database).delete(scope, service.id)
    add_service(database, add_model(database, "acme", "letters"), "one", {})

    steps = {step.section: step for step in restore(ports, kept, tenant_id="acme")}

    assert (steps["services"].action, steps["services"].field) == (Action.REFUSED, "model_id")


def test_another_artefact_under_the_same_version_is_not_taken_for_the_old_one(
    database: Database, ports: BackupPorts
) -> None:
    old = add_model(database, add_tenant(database, "acme"))
    service = add_service(database, old, "one", {})
    kept = kept_of(ports, "acme")
    SqlServices(database).delete(Scope("acme"), service.id)
    SqlModels(database).delete("acme", old.id)
    add_model(database, "acme", sha256="c" * 64)

    steps = {step.section: step for step in restore(ports, kept, tenant_id="acme")}

    assert (steps["models"].action, steps["models"].field) == (Action.REFUSED, "sha256")
    assert (steps["services"].action, steps["services"].field) == (Action.REFUSED, "model_id")


def test_a_failure_half_way_changes_nothing(database: Database, ports: BackupPorts) -> None:
    model = add_model(database, add_tenant(database, "acme"))
    add_service(database, model, "one", {"replicas": 1})
    kept = kept_of(ports, "acme")
    service = SqlServices(database).list(Scope("acme"))[0]
    changed = configs.change(service.config, {"replicas": 3})
    SqlServices(database).configure(Scope("acme"), service.id, config=changed, replicas_only=True)
    foreign = add_rule(database, add_tenant(database, "other"), "theirs")
    sections = {**kept.sections, "alert_rules": [{**_told(ports, "other"), "tenant_id": "acme", "id": foreign.id}]}
    now = sections_of(ports)

    with pytest.raises(DataRefused), acting(WHO):
        restore(ports, dataclasses.replace(kept, sections=sections), tenant_id="acme", is_dry=False)

    assert sections_of(ports) == now
    assert recorded(database) == []


def _told(ports: BackupPorts, tenant_id: str) -> dict:
    return sections_of(ports, tenant_id)["alert_rules"][0]


def test_a_tenant_restores_its_own_and_nothing_of_the_system(database: Database, ports: BackupPorts) -> None:
    for tenant_id in ("acme", "other"):
        add_service(database, add_model(database, add_tenant(database, tenant_id)), "one", {})
        set_budget(database, tenant_id, 5.0, of_system=True)
        set_budget(database, tenant_id, 3.0)
    whole, kept = kept_of(ports), kept_of(ports, "acme")
    for tenant_id in ("acme", "other"):
        set_budget(database, tenant_id, 50.0, of_system=True)
        set_budget(database, tenant_id, 30.0)

    steps = restore(ports, whole, tenant_id="acme", is_dry=False)

    assert {step.tenant_id for step in steps} == {"acme"}
    assert [len(kept.sections.get(name, ())) for name in ("services", "budgets", "tenants", "prices")] == [1, 1, 0, 0]
    found = {(one.tenant_id, one.of_system): one.hard for one in SqlBudgets(database).list(None)}
    assert found == {("acme", True): 50.0, ("acme", False): 3.0, ("other", True): 50.0, ("other", False): 30.0}
    with pytest.raises(ArchiveInvalid, match="of the tenant acme"):
        restore(ports, kept, tenant_id="other")


def test_a_key_comes_back_by_its_digest_alone_and_a_revoked_one_never(database: Database, ports: BackupPorts) -> None:
    keys, scope = SqlKeys(database), Scope(add_tenant(database, "acme"))
    for key_id in ("0" * 12, "1" * 12):
        keys.insert(ApiKey(id=key_id, name="k", role=Role.ADMIN, scope=scope), bytes.fromhex(key_id) * 5 + b"12")
    plain, full = kept_of(ports), kept_of(ports, with_keys=True)
    keys.revoke(scope, "1" * 12)
    keys.change(scope, "0" * 12, name="renamed")

    steps = restore(ports, full, tenant_id="", is_dry=False)

    assert "digest" not in plain.sections["keys"][0]
    assert {one.id: one.action for one in steps if one.section == "keys"} == {
        "0" * 12: Action.CHANGE,
        "1" * 12: Action.SKIPPED,
    }
    assert keys.get(scope, "0" * 12).name == "k"
    assert keys.get(scope, "1" * 12).revoked_at is not None


@pytest.mark.parametrize(
    ("broken", "sentence"),
    [
        (lambda text: text[:-20], "it is not JSON"),
        (lambda text: b'{"format": "tar"}', "`format` is not"),
        (lambda text: text.replace(b'"per_hour":0.3', b'"per_hour":0.2'), "damaged or was edited"),
        (lambda text: text.replace(b'"format_version":1', b'"format_version":2'), "restore it with a newer one"),
        (lambda text: b"[" * 100_000, "it is not JSON"),
    ],
)
def test_a_broken_foreign_or_newer_archive_is_refused_in_one_sentence(
    database: Database, ports: BackupPorts, broken, sentence: str
) -> None:
    SqlPrices(database).put([Price(device_kind="l4", purchase=Purchase.SPOT, per_hour=0.3)])
    text = archive.write(make.read(ports, tenant_id=""))

    with pytest.raises(ArchiveInvalid, match=sentence):
        archive.read(broken(text))

    assert archive.read(text).sections["prices"][0]["per_hour"] == 0.3


def test_an_archive_of_one_database_is_restored_into_another(database: Database, ports: BackupPorts, tmp_path) -> None:
    other = Database(f"sqlite:///{tmp_path}/other.db", StoreSettings())
    migrate.upgrade(other)
    model = add_model(other, add_tenant(other, "acme", replicas=7))
    service = add_service(other, model, "one", {"timeout_s": 1.25})
    add_rule(other, "acme", "slow", service_id=service.id)
    set_budget(other, "acme", 7.5, service_id=service.id)
    SqlPrices(other).put([Price(device_kind="l4", purchase=Purchase.SPOT, per_hour=0.3)])
    text = archive.write(make.read(make_ports(other), tenant_id="", with_keys=True))
    there = sections_of(make_ports(other))
    other.close()

    restore(ports, archive.read(text), tenant_id="", is_dry=False)

    assert without_times(sections_of(ports)) == without_times(there)


def test_the_schedule_keeps_what_changed_and_the_newest_of_it(database: Database) -> None:
    settings_of = dataclasses.replace(Settings().backup, keep=2)
    ports = dataclasses.replace(make_ports(database), settings=settings_of)

    made = [make.make_if_changed(ports) for _ in range(2)]
    for number in range(3):
        add_tenant(database, f"t{number}")
        made.append(make.make_if_changed(ports))
    asked = make.make(ports, tenant_id="t1")

    assert [one is None for one in made] == [False, True, False, False, False]
    kept = ports.snapshots.list(None, limit=10)
    assert [one.id for one in kept] == [asked.id, made[4].id, made[3].id]
    assert [one.origin for one in kept] == [Origin.ASKED, Origin.SCHEDULED, Origin.SCHEDULED]
    assert archive.read(ports.snapshots.content("t1", asked.id)).tenant_id == "t1"


def test_of_two_control_processes_one_takes_the_backup_of_a_period(database: Database, ports: BackupPorts) -> None:
    def control(run_id: str, every_s: float) -> Any:
        set_to = load({"PENSTOCK_RUN_ID": run_id, "PENSTOCK_BACKUP__EVERY_S": str(every_s)})
        return SimpleNamespace(settings=set_to, serving=SimpleNamespace(ticks=SqlTicks(database)), backup=ports)

    taken = [run_backup(control(run_id, 3600)) for run_id in ("one", "two", "one")]

    assert taken == [True, False, False]
    assert run_backup(control("three", 0)) is False
    assert len(ports.snapshots.list("", limit=10)) == 1
