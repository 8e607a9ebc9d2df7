"""Create, control, query and deploy: what a person asks of a service, and what is answered."""

import dataclasses

import pytest

from inference.access.model import Scope
from inference.errors import (
    DeploymentNotFound,
    InvalidField,
    ModelNotFound,
    ModelRunsCode,
    NameExists,
    ServiceNotFound,
    UnknownField,
    WrongState,
)
from inference.registry.model import ModelState, Signature
from inference.serving import config as configs
from inference.serving import control, deploy, query, reconcile
from inference.serving.create import create
from inference.serving.model import Desired, Observed, Profile, ServiceConfig, ServiceState
from inference.tensors import TensorSpec
from tests.unit.serving.fakes import fake_ports

S = ServiceState
TENANT = {"scope": Scope("t")}


@pytest.fixture
def ports():
    return fake_ports()


def made(ports, state=S.PENDING, **config):
    service = create(ports, scope=Scope("t"), model_id="m", config=configs.read(config))
    ports.services.rows[service.id] = dataclasses.replace(service, state=state)
    return service.id


def test_a_new_service_waits_to_be_started(ports):
    service = create(ports, scope=Scope("t"), model_id="m", config=ServiceConfig(), name="mine")

    assert (service.state, service.name, service.revision) == (S.PENDING, "mine", 1)
    assert ports.services.get(Scope("t"), service.id) == service


def test_without_a_name_a_service_is_called_after_its_model(ports):
    first, second = (create(ports, scope=Scope("t"), model_id="m", config=ServiceConfig()) for _ in range(2))

    assert first.name.startswith("digits-")
    assert first.name != second.name


@pytest.mark.parametrize("name", ["", " x", "x" * 129, "a\nb", "a\0b"])
def test_an_impossible_name_is_refused(ports, name):
    with pytest.raises(InvalidField, match="name"):
        create(ports, scope=Scope("t"), model_id="m", config=ServiceConfig(), name=name)


def test_a_service_needs_a_model_that_is_there_and_not_deprecated(ports):
    with pytest.raises(ModelNotFound):
        create(ports, scope=Scope("t"), model_id="other", config=ServiceConfig())
    ports.models.row = dataclasses.replace(ports.models.row, state=ModelState.DEPRECATED)
    with pytest.raises(WrongState, match="deprecated"):
        create(ports, scope=Scope("t"), model_id="m", config=ServiceConfig())


def test_a_name_is_used_once(ports):
    create(ports, scope=Scope("t"), model_id="m", config=ServiceConfig(), name="mine")

    with pytest.raises(NameExists):
        create(ports, scope=Scope("t"), model_id="m", config=ServiceConfig(), name="mine")


CALLS = {"start": control.start, "stop": control.stop, "restart": control.restart}


@pytest.mark.parametrize(
    ("call", "state", "expected"),
    [
        ("start", S.PENDING, S.DEPLOYING),
        ("start", S.STOPPED, S.DEPLOYING),
        ("start", S.STOPPING, S.DEPLOYING),
        ("start", S.ERROR, S.DEPLOYING),
        ("start", S.PREEMPTED, S.DEPLOYING),
        ("start", S.DEPLOYING, S.DEPLOYING),
        ("start", S.RUNNING, S.RUNNING),
        ("stop", S.RUNNING, S.STOPPING),
        ("stop", S.DEPLOYING, S.STOPPING),
        ("stop", S.ERROR, S.STOPPING),
        ("stop", S.PREEMPTED, S.STOPPING),
        ("stop", S.STOPPING, S.STOPPING),
        ("stop", S.STOPPED, S.STOPPED),
        ("restart", S.RUNNING, S.RUNNING),
        ("restart", S.DEPLOYING, S.DEPLOYING),
        ("restart", S.STOPPED, S.DEPLOYING),
        ("restart", S.ERROR, S.DEPLOYING),
        ("restart", S.PENDING, S.DEPLOYING),
    ],
)
def test_a_call_leads_where_the_table_says_and_may_be_repeated(ports, call, state, expected):
    service_id = made(ports, state)

    first = CALLS[call](ports, **TENANT, service_id=service_id)
    second = CALLS[call](ports, **TENANT, service_id=service_id)

    assert (first.state, second.state) == (expected, expected)


def test_a_service_that_never_started_cannot_be_stopped(ports):
    with pytest.raises(WrongState, match="never started") as refused:
        control.stop(ports, **TENANT, service_id=made(ports))

    assert refused.value.details["state"] == "pending"
    assert "running" in refused.value.details["allowed"]


def test_calls_that_change_nothing_wake_nobody(ports):
    service_id = made(ports, S.RUNNING)

    control.start(ports, **TENANT, service_id=service_id)

    assert (ports.kick.count, ports.services.notes) == (0, [])


def test_a_move_that_somebody_else_made_first_is_looked_at_again(ports):
    service_id = made(ports, S.PENDING)
    ports.services.moved_under_us = S.RUNNING

    assert control.start(ports, **TENANT, service_id=service_id).state is S.RUNNING


def test_restart_of_a_running_service_is_a_new_revision(ports):
    service_id = made(ports, S.RUNNING)

    assert control.restart(ports, **TENANT, service_id=service_id).revision == 2
    assert ports.kick.count == 1


def test_scaling_replicas_keeps_the_revision(ports):
    scaled = control.scale(ports, **TENANT, service_id=made(ports, S.RUNNING), replicas=3)

    assert (scaled.config.replicas, scaled.revision, scaled.scaled_at) == (3, 1, 9.0)
    assert scaled.config.raw == {"replicas": 3}


def test_scaling_instances_resizes_the_replicas_that_are_there(ports):
    service_id = made(ports, S.RUNNING)

    scaled = control.scale(ports, **TENANT, service_id=service_id, replicas=2, instances=4)
    again = control.scale(ports, **TENANT, service_id=service_id, replicas=2, instances=4)

    assert (scaled.config.instances, scaled.config.replicas, scaled.revision) == (4, 2, 1)
    assert scaled.scaled_at == 9.0
    assert again.revision == 1


@pytest.mark.parametrize("ask", ["start", "scale"])
def test_who_starts_or_scales_a_service_at_rest_wakes_it(ports, ask):
    service_id = made(ports, S.RUNNING)
    row = ports.services.rows[service_id]
    resting = dataclasses.replace(row, target_replicas=0, config=dataclasses.replace(row.config, idle_ttl_s=60.0))
    ports.services.rows[service_id] = resting

    more = {"replicas": 1} if ask == "scale" else {}
    woken = getattr(control, ask)(ports, **TENANT, service_id=service_id, **more)

    assert resting.is_resting
    assert (woken.is_resting, woken.wanted_replicas) == (False, 1)
    assert ports.kick.count >= 1


@pytest.mark.parametrize("replicas", [-1, 65, "2", True, 1.5])
def test_an_impossible_size_is_refused(ports, replicas):
    with pytest.raises(InvalidField, match=r"config\.replicas"):
        control.scale(ports, **TENANT, service_id=made(ports), replicas=replicas)


def test_an_update_of_the_config_is_a_new_revision_and_of_replicas_alone_is_not(ports):
    service_id = made(ports, S.RUNNING, max_batch=8)

    resized = control.update(ports, **TENANT, service_id=service_id, config_changes={"replicas": 2})
    changed = control.update(ports, **TENANT, service_id=service_id, config_changes={"max_batch": 4})
    same = control.update(ports, **TENANT, service_id=service_id, config_changes={"max_batch": 4})

    assert [service.revision for service in (resized, changed, same)] == [1, 2, 2]
    assert same.config.raw == {"max_batch": 4, "replicas": 2}


X = TensorSpec(name="x", dtype="float32", shape=(None, 4))


def version(ports, number, **changes):
    """Registers another version of the model that `made` uses; its id."""
    ports.models.others[number] = dataclasses.replace(ports.models.row, id=number, version=number, **changes)
    return number


def test_another_version_is_a_new_revision_and_the_same_one_is_not(ports):
    service_id, two = made(ports, S.RUNNING), version(ports, "2.0.0")

    switched, again = (
        control.update(ports, **TENANT, service_id=service_id, config_changes={}, model_id=two) for _ in range(2)
    )

    assert (switched.model_id, switched.revision) == (two, 2)
    assert again == switched
    assert ports.kick.count == 1


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"name": "letters"}, InvalidField),
        ({"signature": Signature(inputs=(X,), outputs=(), engine_inputs=(), engine_outputs=())}, InvalidField),
        ({"state": ModelState.DEPRECATED}, WrongState),
        ({"runs_code": True}, ModelRunsCode),
    ],
)
def test_what_cannot_take_the_place_of_a_version_is_refused(ports, changes, refusal):
    service_id, two = made(ports, S.RUNNING), version(ports, "2.0.0", **changes)

    with pytest.raises(refusal):
        control.update(ports, **TENANT, service_id=service_id, config_changes={"max_batch": 4}, model_id=two)

    assert (query.get(ports, **TENANT, service_id=service_id).revision, ports.kick.count) == (1, 0)


def test_an_update_that_says_something_impossible_changes_nothing(ports):
    service_id = made(ports)
    before = ports.services.get(Scope("t"), service_id)

    with pytest.raises(UnknownField):
        control.update(ports, **TENANT, service_id=service_id, config_changes={"replicas": 2, "nonsense": 1})

    assert ports.services.get(Scope("t"), service_id) == before


@pytest.mark.parametrize("state", [S.PENDING, S.STOPPING, S.STOPPED, S.ERROR])
def test_a_service_that_is_not_meant_to_run_can_be_deleted(ports, state):
    service_id = made(ports, state)

    control.delete(ports, **TENANT, service_id=service_id)

    with pytest.raises(ServiceNotFound):
        query.get(ports, **TENANT, service_id=service_id)


@pytest.mark.parametrize("state", [S.DEPLOYING, S.RUNNING, S.PREEMPTED])
def test_a_service_that_is_meant_to_run_must_be_stopped_first(ports, state):
    service_id = made(ports, state)

    with pytest.raises(WrongState, match="stop it first"):
        control.delete(ports, **TENANT, service_id=service_id)

    assert query.get(ports, **TENANT, service_id=service_id).state is state


@pytest.mark.parametrize("call", [*CALLS.values(), control.delete])
def test_an_unknown_service_is_not_found(ports, call):
    with pytest.raises(ServiceNotFound):
        call(ports, **TENANT, service_id="nothing")


def test_a_description_counts_what_is_ready_and_shows_the_curve(ports):
    service_id = made(ports, replicas=2)
    control.start(ports, **TENANT, service_id=service_id)
    reconcile.run(ports)
    first, second = ports.replicas.of_service(service_id)
    ports.replicas.rows[first.id] = dataclasses.replace(first, observed=Observed.READY, instances_ready=2)
    profile = Profile(model_id="m", device_kind="cpu", provider="cpu", max_batch=8, curve=(), measured_at=0.0)
    ports.profiles.rows.append(profile)

    view = query.describe(ports, **TENANT, service_id=service_id)

    assert (view.replicas_ready, view.instances_ready, len(view.replicas)) == (1, 2, 2)
    assert view.profiles == (profile,)
    assert query.find(ports, **TENANT) == [view.service]
    assert [event.to_state for event in query.events(ports, **TENANT, service_id=service_id)] == ["deploying"]
    assert second.desired is Desired.RUNNING


def test_the_reconciler_carries_a_service_through_its_life(ports):
    service_id = made(ports)
    control.start(ports, **TENANT, service_id=service_id)
    reconcile.run(ports)
    (replica,) = ports.replicas.all()
    ports.replicas.rows[replica.id] = dataclasses.replace(replica, observed=Observed.READY)
    reconcile.run(ports)
    assert query.get(ports, **TENANT, service_id=service_id).state is S.RUNNING

    control.stop(ports, **TENANT, service_id=service_id)
    reconcile.run(ports)
    (draining,) = ports.replicas.all()
    assert draining.desired is Desired.STOPPED
    ports.replicas.rows[replica.id] = dataclasses.replace(draining, observed=Observed.STOPPED)
    reconcile.run(ports)

    assert query.get(ports, **TENANT, service_id=service_id).state is S.STOPPED
    assert ports.replicas.all() == []
    assert reconcile.run(ports) == 0


def test_a_service_without_room_says_why_and_is_well_again_with_it(ports):
    service_id = made(ports, resource_requirements={"cpu": 4})
    control.start(ports, **TENANT, service_id=service_id)

    reconcile.run(ports)
    stuck = query.get(ports, **TENANT, service_id=service_id)
    control.update(ports, **TENANT, service_id=service_id, config_changes={"resource_requirements": {"cpu": 1}})
    reconcile.run(ports)

    assert stuck.state is S.DEPLOYING
    assert "No node has room" in (stuck.reason or "")
    assert query.get(ports, **TENANT, service_id=service_id).suggested_action is None
    assert len(ports.replicas.all()) == 1


def test_a_deployment_is_a_record_with_a_started_service_behind_it(ports):
    config = configs.read({"replicas": 2})

    deployed = deploy.deploy(ports, **TENANT, model_id="m", environment="production", config=config)

    service = query.get(ports, **TENANT, service_id=deployed.service_id)
    assert (service.state, service.config.replicas) == (S.DEPLOYING, 2)
    assert deploy.get(ports, **TENANT, deployment_id=deployed.id) == deployed
    assert deploy.find(ports, **TENANT) == [deployed]
    with pytest.raises(DeploymentNotFound):
        deploy.get(ports, **TENANT, deployment_id="nothing")


@pytest.mark.parametrize("environment", ["", "x" * 65, "a\nb"])
def test_an_impossible_environment_leaves_no_service_behind(ports, environment):
    with pytest.raises(InvalidField, match="environment"):
        deploy.deploy(ports, **TENANT, model_id="m", environment=environment, config=ServiceConfig())

    assert ports.services.rows == {}
