"""Which fallback may be named, and when it steps in."""

import dataclasses

import pytest

from inference.access.model import Scope
from inference.errors import InUse, InvalidField
from inference.ids import DEFAULT_TENANT, new_id
from inference.serving import control, create, fallback
from inference.serving.model import AutoScaling, ServiceConfig, ServiceState
from tests import fakes

SCOPE = Scope(DEFAULT_TENANT)


@pytest.fixture
def core():
    made = fakes.make_core()
    yield made
    made.close()


def named(core, *fallback_ids, **changes):
    """A row of services, each the fallback of the one before it; `fallback_ids`: of the last."""
    model = fakes.add_model(core, name=new_id())
    return fakes.add_service(core, model=model, **{"fallback_service_id": next(iter(fallback_ids), None), **changes})


def test_a_service_may_name_another_that_names_a_third(core):
    third = named(core)
    second = named(core, third.id)
    config = ServiceConfig(fallback_service_id=second.id)

    made = create.create(core.serving, scope=SCOPE, model_id=second.model_id, config=config)

    assert made.config.fallback_service_id == second.id


def test_a_service_that_is_not_there_cannot_be_named(core):
    with pytest.raises(InvalidField, match="there is no service"):
        create.create(
            core.serving,
            scope=SCOPE,
            model_id=named(core).model_id,
            config=ServiceConfig(fallback_service_id="f" * 32),
        )


@pytest.mark.parametrize("length", [0, 1, 2, 5])
def test_no_service_is_its_own_fallback_however_long_the_way_round(core, length):
    first = last = named(core)
    for _ in range(length):
        last = named(core, last.id)

    with pytest.raises(InvalidField) as refusal:
        control.update(core.serving, scope=SCOPE, service_id=first.id, config_changes={"fallback_service_id": last.id})

    assert refusal.value.details["field"] == "config.fallback_service_id"
    assert core.serving.services.get(SCOPE, first.id).config.fallback_service_id is None


def test_a_row_of_fallbacks_has_an_end(core):
    last = named(core)
    for _ in range(fallback.MOST):
        last = named(core, last.id)

    with pytest.raises(InvalidField, match="more than 8"):
        fallback.require_sound(
            core.serving, scope=SCOPE, service_id="0" * 32, config=ServiceConfig(fallback_service_id=last.id)
        )


def test_one_that_was_deleted_further_on_harms_nobody(core):
    second = named(core, "f" * 32)

    fallback.require_sound(
        core.serving, scope=SCOPE, service_id="0" * 32, config=ServiceConfig(fallback_service_id=second.id)
    )


TOLD = "Add a node with a GPU."


@pytest.mark.parametrize(
    ("changes", "is_held", "is_unplaced"),
    [
        ({"state": ServiceState.DEPLOYING, "suggested_action": TOLD}, False, True),
        ({"state": ServiceState.RUNNING, "suggested_action": TOLD}, False, True),
        ({"state": ServiceState.PREEMPTED}, True, True),
        ({"state": ServiceState.DEPLOYING}, False, False),
        ({"state": ServiceState.DEPLOYING, "suggested_action": TOLD}, True, False),
        ({"state": ServiceState.STOPPED, "suggested_action": TOLD}, False, False),
        ({"state": ServiceState.ERROR, "suggested_action": TOLD}, False, False),
        ({"state": ServiceState.RUNNING, "suggested_action": TOLD, "config": {"replicas": 0}}, False, False),
        (
            {
                "state": ServiceState.RUNNING,
                "suggested_action": TOLD,
                "target_replicas": 0,
                "config": {"auto_scaling": AutoScaling(enabled=True)},
            },
            False,
            False,
        ),
    ],
)
def test_a_service_is_without_room_when_it_should_run_and_was_told_that_it_cannot(core, changes, is_held, is_unplaced):
    changes = {**changes, "config": ServiceConfig(**changes.get("config", {}))}
    service = dataclasses.replace(named(core), **changes)

    assert fallback.is_unplaced(service, is_held=is_held) is is_unplaced


def test_a_service_that_is_the_fallback_of_another_is_not_deleted(core):
    light = named(core, state=ServiceState.STOPPED)
    heavy = named(core, light.id, state=ServiceState.STOPPED)

    with pytest.raises(InUse) as refusal:
        control.delete(core.serving, scope=SCOPE, service_id=light.id)
    control.update(core.serving, scope=SCOPE, service_id=heavy.id, config_changes={"fallback_service_id": None})
    control.delete(core.serving, scope=SCOPE, service_id=light.id)

    assert refusal.value.details["used_by"] == heavy.id
    assert heavy.name in refusal.value.message
    assert light.id not in core.serving.services.ids(SCOPE)


def test_a_key_that_does_not_see_the_other_service_is_not_told_which_it_is(core):
    light = named(core, state=ServiceState.STOPPED)
    heavy = named(core, light.id, state=ServiceState.STOPPED)

    with pytest.raises(InUse) as refusal:
        control.delete(core.serving, scope=Scope(DEFAULT_TENANT, None, light.id), service_id=light.id)

    assert heavy.id not in f"{refusal.value.message} {refusal.value.details}"
