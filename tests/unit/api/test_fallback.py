"""Work that is sent to a service without room, as its client sees it."""

import dataclasses

import pytest

from inference.access import keys
from inference.access.model import ANYBODY, Role, Scope
from inference.ids import DEFAULT_TENANT
from inference.serving.model import ServiceState
from inference.tensors import TensorSpec, unpack
from tests import fakes

BASE = "/api/v1/inference"
ONE = {"input_data": {"x": [[1, 2]]}}
NARROW = TensorSpec(name="x", dtype="float32", shape=(None, 3))


@pytest.fixture
def light(core):
    return fakes.add_service(core, model=fakes.add_model(core, name="light", version="0.1.0"))


def without_room(core, light, **model):
    """A service that waits for a GPU, with that fallback."""
    service = fakes.add_service(
        core,
        model=fakes.add_model(core, name="heavy", **model),
        state=ServiceState.DEPLOYING,
        fallback_service_id=light.id,
    )
    return change(core, service, suggested_action="Add a node with a GPU.")


def change(core, service, **values):
    changed = core.serving.services.rows[service.id] = dataclasses.replace(service, **values)
    return changed


def submit(client, service, body=ONE, path="tasks", **options):
    return client.post(f"{BASE}/services/{service.id}/{path}", json=body, **options)


def test_a_task_says_where_it_was_sent_and_who_answers(client, core, light):
    heavy = without_room(core, light)

    task_id = submit(client, heavy).json["task_id"]
    core.jobs.store.change(task_id, model_version="0.1.0")
    shown = client.get(f"{BASE}/tasks/{task_id}").json

    assert core.jobs.store.rows[task_id].service_id == light.id
    assert shown["service_id"] == heavy.id
    assert shown["answered_by"] == {"service_id": light.id, "model_version": "0.1.0"}


def test_a_batch_goes_to_the_fallback_as_one(client, core, light):
    heavy = without_room(core, light)

    answer = submit(client, heavy, {"input_data_list": [ONE["input_data"]] * 2}, "tasks/batch")

    rows = [core.jobs.store.rows[task_id] for task_id in answer.json["task_ids"]]
    assert [(row.service_id, row.asked_service_id) for row in rows] == [(light.id, heavy.id)] * 2


def test_a_service_with_room_keeps_its_work(client, core, light):
    heavy = without_room(core, light)
    core.jobs.fallbacks._store.held.add(heavy.id)

    task_id = submit(client, heavy).json["task_id"]

    assert core.jobs.store.rows[task_id].service_id == heavy.id
    assert "answered_by" not in client.get(f"{BASE}/tasks/{task_id}").json


@pytest.mark.parametrize("state", [ServiceState.STOPPED, ServiceState.ERROR, ServiceState.DEPLOYING])
def test_work_is_not_given_to_a_fallback_that_does_not_run(client, core, light, state):
    heavy = without_room(core, light)
    change(core, light, state=state, suggested_action="Add a node.")

    task_id = submit(client, heavy).json["task_id"]

    assert core.jobs.store.rows[task_id].service_id == heavy.id


def test_the_fallback_of_a_fallback_that_has_no_room_either_takes_it(client, core, light):
    middle = without_room(core, light)
    heavy = fakes.add_service(
        core, model=fakes.add_model(core, name="top"), state=ServiceState.PREEMPTED, fallback_service_id=middle.id
    )

    task_id = submit(client, heavy).json["task_id"]

    assert core.jobs.store.rows[task_id].service_id == light.id


def test_what_does_not_fit_the_fallback_stays_where_it_was_sent(client, core):
    light = fakes.add_service(core, model=fakes.add_model(core, name="light", inputs=(NARROW,)))
    heavy = without_room(core, light)

    kept, refused = submit(client, heavy), submit(client, heavy, {"input_data": {"x": [[1, 2, 3]]}})

    assert core.jobs.store.rows[kept.json["task_id"]].service_id == heavy.id
    assert (refused.status_code, refused.json["code"]) == (422, "invalid_tensor")


def test_what_fits_both_is_made_for_the_one_that_runs_it(client, core):
    wide = TensorSpec(name="x", dtype="float64", shape=(None, None))
    light = fakes.add_service(core, model=fakes.add_model(core, name="light", inputs=(wide,)))
    heavy = without_room(core, light)

    task_id = submit(client, heavy).json["task_id"]

    row = core.jobs.store.rows[task_id]
    assert (row.service_id, unpack(row.payload)["x"].dtype) == (light.id, "float64")


def test_a_key_of_the_service_asked_may_submit_and_read(client, core, light):
    heavy = without_room(core, light)
    made = keys.create(
        core.access, by=ANYBODY, name="k", role=Role.SUBMITTER, scope=Scope(DEFAULT_TENANT, service_id=heavy.id)
    )
    headers = {"Authorization": f"Bearer {made.text}"}

    task_id = submit(client, heavy, headers=headers).json["task_id"]

    assert client.get(f"{BASE}/tasks/{task_id}", headers=headers).status_code == 200


def test_a_known_key_gives_the_first_answer_also_when_room_has_come(client, core, light):
    heavy, headers = without_room(core, light), {"Idempotency-Key": "k"}
    first = submit(client, heavy, headers=headers)

    core.jobs.fallbacks._store.held.add(heavy.id)
    again = submit(client, heavy, headers=headers)

    assert again.json == first.json


def test_what_waits_is_handed_over_where_inputs_are_alike_only(client, core, light):
    other = fakes.add_service(core, model=fakes.add_model(core, name="other", inputs=(NARROW,)))
    heavy = without_room(core, light)
    without_room(core, other, version="2.0.0")

    core.jobs.fallbacks.hand_over(core.jobs.bell)

    assert core.jobs.fallbacks._store.handed == [(heavy.id, light.id, 5.0)]


@pytest.mark.parametrize("named", ["self", "f" * 32, "not an id"])
def test_an_impossible_fallback_is_refused_with_what_is_wrong(client, core, light, named):
    body = {"config": {"fallback_service_id": light.id if named == "self" else named}}

    answer = client.patch(f"{BASE}/services/{light.id}", json=body)

    assert (answer.status_code, answer.json["code"]) == (422, "invalid_field")
    assert answer.json["details"]["field"] == "config.fallback_service_id"
