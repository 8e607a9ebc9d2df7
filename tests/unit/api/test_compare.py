"""Comparisons over HTTP: of tasks, of two versions, of two times."""

import pytest

from inference.ids import new_id, new_ids
from inference.jobs.model import JobState, JobView
from tests import fakes

BASE = "/api/v1/inference"


def add(core, service, result=b'{"y":[[1.0,2.0]]}', *, state=JobState.COMPLETED, at=1.0, took_s=0.5, **values):
    job_id = new_ids(1)[0]
    plain = {"model_version": "1.0.0", "started_at": at + 0.25, "completed_at": at + took_s}
    core.jobs.store.views_by_id[job_id] = JobView(
        id=job_id, service_id=service.id, state=state, priority=0, attempts=1, created_at=at,
        result=result if state is JobState.COMPLETED else None, **(plain | values),
    )  # fmt: skip
    return job_id


def compare(client, body, query=""):
    return client.post(f"{BASE}/tasks/compare{query}", json=body)


def test_tasks_are_compared_with_the_first_and_there_are_winners(client, core, service):
    reference = add(core, service)
    near = add(core, service, b'{"y":[[1.0,2.125]]}', took_s=0.75, model_version="1.1.0")
    far = add(core, service, b'{"y":[[3.0,2.0]]}', took_s=0.25, started_at=None)

    told = compare(client, {"task_ids": [reference, near, far], "tolerance": 0.2}).json

    assert told["winner"] == {"fastest": far, "closest": near}
    assert [task["agrees"] for task in told["tasks"]] == [True, True, False]
    assert [task["outputs"][0]["max_abs"] for task in told["tasks"]] == [0.0, 0.125, 2.0]
    assert [task["outputs"][0]["top1_agreement"] for task in told["tasks"]] == [1.0, 1.0, 0.0]
    assert [(task["latency"], task["run_s"]) for task in told["tasks"]] == [(0.5, 0.25), (0.75, 0.5), (0.25, None)]
    assert told["tasks"][1]["model_version"] == "1.1.0"


def test_what_cannot_be_compared_is_not_closest_and_says_why(client, core, service):
    ids = [add(core, service), add(core, service, b'{"y":[[1.0,2.0,3.0]]}')]

    told = compare(client, {"task_ids": ids}).json

    assert told["winner"]["closest"] is None
    assert told["tasks"][1]["outputs"][0]["note"] == "Its shape is [1, 3], that of the reference [1, 2]."


def test_a_table_is_text_with_a_line_for_each_output(client, core, service):
    ids = [add(core, service), add(core, service, b'{"y":[[1.0,2.5]]}')]

    response = compare(client, {"task_ids": ids}, "?format=table")
    lines = response.text.splitlines()

    assert response.mimetype == "text/plain"
    assert lines[0].split()[:2] == ["task_id", "model_version"]
    assert [line.split()[0] for line in lines[1:3]] == ids
    assert f"closest to the first: {ids[1]}" in lines


def test_tasks_of_others_do_not_exist(client, core, service):
    mine, unknown = add(core, service), new_id()

    response = compare(client, {"task_ids": [mine, unknown, "x"]})

    assert (response.status_code, response.json["code"]) == (404, "job_not_found")
    assert response.json["details"]["task_ids"] == [unknown, "x"]


def test_tasks_without_a_result_are_refused_by_name(client, core, service):
    done, waiting = add(core, service), add(core, service, state=JobState.PENDING)
    failed = add(core, service, state=JobState.FAILED)

    response = compare(client, {"task_ids": [done, waiting, failed]})

    assert (response.status_code, response.json["code"]) == (409, "wrong_state")
    assert response.json["details"]["tasks"] == {waiting: "pending", failed: "failed"}


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"task_ids": ["a"]},
        {"task_ids": ["a", "a"]},
        {"task_ids": [f"{n:032x}" for n in range(21)]},
        {"task_ids": "ab"},
        {"task_ids": ["a", "b"], "tolerance": -1},
        {"task_ids": ["a", "b"], "tolerance": "1"},
        {"task_ids": ["a", "b"], "tolerance": True},
    ],
)
def test_what_cannot_be_compared_is_refused(client, body):
    response = compare(client, body)

    assert (response.status_code, response.json["code"]) == (422, "invalid_field")


def test_versions_are_compared_on_the_same_inputs(client, core, service):
    for number in range(4):
        for version, result, took_s in (("1.0.0", b'{"y":[[1.0,2.0]]}', 0.5), ("1.1.0", b'{"y":[[1.0,2.5]]}', 0.25)):
            job_id = add(core, service, result, model_version=version, took_s=took_s, at=float(number))
            core.results.samples.inputs[job_id] = b"%d" % number if number < 3 else job_id.encode()
    add(core, service, state=JobState.FAILED, model_version="1.1.0", error_code="engine_failed")
    path = f"{BASE}/services/{service.id}/compare"

    told = client.post(path, json={"versions": ["1.0.0", "1.1.0"]}).json
    table = client.post(f"{path}?format=table", json={"versions": ["1.0.0", "1.1.0"], "tolerance": 0.5}).text

    assert [(side["name"], side["tasks"], side["completed"]) for side in told["sides"]] == [
        ("1.0.0", 4, 4),
        ("1.1.0", 5, 4),
    ]
    assert told["sides"][1]["errors"] == {"engine_failed": 1}
    assert (told["pairs"]["count"], told["pairs"]["agreeing"]) == (3, 0)
    assert told["pairs"]["outputs"]["y"]["max_abs"] == 0.5
    assert told["pairs"]["outputs"]["y"]["top1_agreement"] == 1.0
    assert len(told["pairs"]["worst"]) == 3
    assert told["winner"] == {"faster": "1.1.0", "fewer_errors": "1.0.0"}
    assert "same input: 3, agreeing: 3" in table


def test_times_are_compared_by_figures_and_by_how_outputs_lie(client, core, service):
    for number in range(10):
        add(core, service, b'{"y":[[1.0,2.0]]}', at=100.0 + number)
        add(core, service, b'{"y":[[2.0,1.0]]}' if number < 4 else b'{"y":[[1.0,2.0]]}', at=200.0 + number, took_s=1.0)
    ranges = [
        {"from": "1970-01-01T00:01:40Z", "to": "1970-01-01T00:01:50Z"},
        {"from": "1970-01-01T00:03:20Z", "to": "1970-01-01T00:03:30Z"},
    ]

    told = client.post(f"{BASE}/services/{service.id}/compare", json={"ranges": ranges}).json

    assert [side["throughput_per_s"] for side in told["sides"]] == [1.0, 1.0]
    assert [side["latency_p50"] for side in told["sides"]] == [0.5, 1.0]
    assert [side["outputs"]["y"]["top1"] for side in told["sides"]] == [{"1": 1.0}, {"1": 0.6, "0": 0.4}]
    assert told["shift"]["y"] == pytest.approx(0.4)
    assert told["winner"] == {"faster": "first", "fewer_errors": None}
    assert told["pairs"] is None


def test_sides_without_tasks_have_no_figures_and_no_winner(client, core, service):
    told = client.post(f"{BASE}/services/{service.id}/compare", json={"versions": ["1", "2"]}).json

    assert told["winner"] == {"faster": None, "fewer_errors": None}
    assert told["pairs"] == {"count": 0, "agreeing": 0, "outputs": {}, "worst": []}
    assert told["sides"][0]["latency_p50"] is None


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"versions": ["1"]},
        {"versions": ["1", "1"]},
        {"versions": ["1", "2"], "ranges": [{}, {}]},
        {"ranges": [{}]},
        {"ranges": [{}, {"from": "yesterday"}]},
        {"ranges": [{}, {"from": "2026-11-21", "to": "2026-11-20"}]},
        {"ranges": [{}, {}], "from": "2026-01-01"},
    ],
)
def test_sides_that_nobody_can_tell_apart_are_refused(client, service, body):
    response = client.post(f"{BASE}/services/{service.id}/compare", json=body)

    assert (response.status_code, response.json["code"]) == (422, "invalid_field")


def test_a_service_of_others_does_not_exist(client, core):
    fakes.add_service(core, model=fakes.add_model(core, name="other"))

    response = client.post(f"{BASE}/services/{new_id()}/compare", json={"versions": ["1", "2"]})

    assert response.json["code"] == "service_not_found"
