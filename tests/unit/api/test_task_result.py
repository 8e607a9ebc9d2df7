"""The result of a task as a file, inline or from the blob store."""

import csv
import io
import json

import msgspec
import pytest

from api.v1 import compare as compare_room
from api.v1 import results
from inference.ids import new_id
from inference.jobs.model import ResultRef

BASE = "/api/v1/inference"
TEXT = b'{"y":[[1.0,2.0]]}'


@pytest.fixture
def done(client, core, service):
    body = {"input_data": {"x": [1.0, 2.0]}}
    task_id = client.post(f"{BASE}/services/{service.id}/tasks", json=body).json["task_id"]
    core.jobs.store.complete(task_id)
    return task_id


def set_apart(core, task_id, text=b'{"y":[' + b"1," * 500_000 + b"1]}"):
    """As if the result had been too large for its row."""
    stored = core.registry.blobs.put_bytes(text)
    views = core.jobs.store.views_by_id
    ref = ResultRef(sha256=stored.key, size_bytes=stored.size_bytes)
    views[task_id] = msgspec.structs.replace(views[task_id], result=None, result_ref=ref)
    return text, ref


def test_a_small_result_is_given_as_it_lies_in_its_row(client, done):
    response = client.get(f"{BASE}/tasks/{done}/result")

    assert (response.status_code, response.data, response.content_type) == (200, TEXT, "application/json")


def test_a_large_result_is_shown_as_a_reference_and_given_whole(client, core, done):
    text, ref = set_apart(core, done)

    shown = client.get(f"{BASE}/tasks/{done}").json
    response = client.get(shown["result_ref"]["url"])

    assert shown["result"] is None
    assert shown["result_ref"] == {
        "url": f"{BASE}/tasks/{done}/result",
        "size_bytes": len(text),
        "sha256": ref.sha256,
    }
    assert (response.status_code, response.data) == (200, text)
    assert response.headers["Content-Length"] == str(len(text))
    assert response.headers["ETag"] == f'"{ref.sha256}"'


def test_a_part_of_a_large_result_can_be_asked_for_and_what_is_known_is_not_sent_again(client, core, done):
    text, ref = set_apart(core, done)
    path = f"{BASE}/tasks/{done}/result"

    part = client.get(path, headers={"Range": "bytes=5-14"})
    beyond = client.get(path, headers={"Range": f"bytes={len(text)}-"})
    known = client.get(path, headers={"If-None-Match": f'"{ref.sha256}"'})

    assert (part.status_code, part.data) == (206, text[5:15])
    assert (beyond.status_code, known.status_code, known.data) == (416, 304, b"")


def test_a_task_without_result_says_so(client, core, service, done):
    body = {"input_data": {"x": [1.0, 2.0]}}
    waiting = client.post(f"{BASE}/services/{service.id}/tasks", json=body).json["task_id"]
    _, ref = set_apart(core, done)
    core.registry.blobs.delete(ref.sha256)

    answers = [client.get(f"{BASE}/tasks/{task_id}/result") for task_id in (waiting, new_id(), "x", done)]

    assert [(answer.status_code, answer.json["code"]) for answer in answers] == [
        (409, "wrong_state"),
        (404, "job_not_found"),
        (404, "job_not_found"),
        (404, "result_missing"),
    ]


def test_exports_have_large_results_in_them_and_of_those_beyond_all_measure_a_reference(
    client, core, service, done, monkeypatch
):
    text, ref = set_apart(core, done, text=b'{"y":[' + b"1," * 1_000 + b"1]}")
    export = f"{BASE}/services/{service.id}/results"

    lines = json.loads(client.get(export).data)
    (row,) = list(csv.DictReader(io.StringIO(client.get(f"{export}/export?format=csv").text)))
    monkeypatch.setattr(results, "READ_BYTES", len(text) - 1)
    (short,) = list(csv.DictReader(io.StringIO(client.get(f"{export}/export?format=csv").text)))

    assert (lines["result"], "result_ref" in lines) == (json.loads(text), False)
    assert row["result"] == text.decode()
    assert json.loads(short["result"])["result_ref"]["sha256"] == ref.sha256


def test_large_results_are_read_in_pieces_that_fit(core, client, service, monkeypatch):
    body = {"input_data": {"x": [1.0, 2.0]}}
    for number in range(5):
        task_id = client.post(f"{BASE}/services/{service.id}/tasks", json=body).json["task_id"]
        core.jobs.store.complete(task_id)
        set_apart(core, task_id, text=b"%d" % number * 100)
    views = list(core.jobs.store.views_by_id.values())
    monkeypatch.setattr(results, "READ_BYTES", 150)

    pieces = list(results._whole(core.jobs.large, iter([views])))

    assert [[view.result[:1] for view in piece] for piece in pieces] == [[b"0", b"1"], [b"2", b"3"], [b"4"]]


def test_large_results_are_compared_up_to_a_limit(client, core, service, done, monkeypatch):
    ids = [done, client.post(f"{BASE}/services/{service.id}/tasks", json={"input_data": {"x": [1, 2]}}).json["task_id"]]
    core.jobs.store.complete(ids[1])
    text, _ = set_apart(core, ids[1])

    def compare():
        return client.post(f"{BASE}/tasks/compare", json={"task_ids": ids})

    whole = compare()
    monkeypatch.setattr(compare_room, "READ_BYTES", len(text) - 1)
    refused = compare()
    core.registry.blobs.contents.clear()
    monkeypatch.undo()
    missing = compare()

    assert whole.status_code == 200
    assert "shape" in whole.json["tasks"][1]["outputs"][0]["note"]
    assert (refused.status_code, refused.json["code"]) == (413, "too_large")
    assert (missing.status_code, missing.json["code"]) == (404, "result_missing")
