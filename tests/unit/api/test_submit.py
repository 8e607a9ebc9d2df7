"""T1: what a submission answers, and how each bad one is refused."""

import base64
import dataclasses
import io
import json

import numpy as np
import pytest
from werkzeug.test import Client

from api import context
from inference import clock
from inference.errors import BacklogFull
from inference.ids import new_id
from inference.serving.model import ServiceState
from inference.tensors import unpack
from tests import fakes
from tests.through_live import ThroughLive

BASE = "/api/v1/inference"


@pytest.fixture(params=["flask", "live"])
def client(request, application, core):
    """Submits go through the live process behind the front, through Flask without: both say the same."""
    application.extensions[context.EXTENSION] = core
    if request.param == "flask":
        return application.test_client()
    return Client(ThroughLive(application))


GOOD = {"input_data": {"x": [1.0, 2.0]}}


def post(client, service, body, **options):
    text = body if isinstance(body, bytes | str) else json.dumps(body)
    return client.post(f"{BASE}/services/{service.id}/tasks", data=text, **options)


def refusal(response, status, code):
    assert response.status_code == status, response.data
    assert set(response.json) == {"code", "message", "details"}
    assert response.json["code"] == code
    assert response.json["message"].endswith(".")
    return response.json


def test_a_task_is_accepted_with_its_place(client, core, service):
    response = post(client, service, {**GOOD, "priority": 7, "timeout_s": 1.5, "metadata": {"camera": 3}})

    assert response.status_code == 202
    assert set(response.json) == {"task_id", "status", "created_at"}
    assert response.json["status"] == "pending"
    assert response.headers["Location"] == f"{BASE}/tasks/{response.json['task_id']}"
    row = core.jobs.store.rows[response.json["task_id"]]
    assert (row.priority, row.timeout_s, row.rows, json.loads(row.metadata_json)) == (7, 1.5, 1, {"camera": 3})
    assert unpack(row.payload)["x"].tolist() == [[1.0, 2.0]]
    assert core.jobs.bell.rung == [service.id]


def test_the_short_alias_answers_under_its_own_path(client, service):
    response = client.post(f"/api/inference/services/{service.id}/tasks", json=GOOD)

    assert response.status_code == 202
    assert response.headers["Location"] == f"/api/inference/tasks/{response.json['task_id']}"
    assert client.get(response.headers["Location"]).json["status"] == "pending"


@pytest.mark.parametrize(
    ("body", "status", "code", "says"),
    [
        ("", 400, "malformed_json", "ends too early"),
        ("{", 400, "malformed_json", "ends too early"),
        ('{"input_data": {"x": [NaN, 1]}}', 400, "malformed_json", "NaN and Infinity are no JSON"),
        ('{"input_data": {"x": ' + "[" * 50_000 + "]" * 50_000 + "}}", 400, "json_too_deep", "32 levels"),
        ('{"input_data": {"x": [1, 2]}, "metadata": ' + '{"a":' * 40 + "1" + "}" * 40 + "}", 400, "json_too_deep", ""),
        ('{"input_data": {"x": [1, 2]}, "input_data": {"x": [3, 4]}}', 400, "duplicate_key", "`input_data`"),
        ('{"input_data": {"x": [1, 2], "x": [3, 4]}}', 400, "duplicate_key", "`x`"),
        ('{"input_data": {"x": [1, 2]}, "metadata": {"a": {"b": 1, "b": 2}}}', 400, "duplicate_key", "`b`"),
        ('{"input_data": {"x": [1, 2]}, "priority": 1, "priority" : 9}', 400, "duplicate_key", "`priority`"),
        (b'{"input_data": {"x": "\xff"}}', 400, "malformed_json", "UTF-8"),
        ("[]", 422, "invalid_field", "must be an object, not a list"),
        ({}, 422, "invalid_field", "both missing"),
        (
            {**GOOD, "colour": 1},
            422,
            "unknown_field",
            "no field `colour` here; known: `callback_events`, `callback_url`",
        ),
        ({**GOOD, "priority": 10}, 422, "invalid_field", "0 to 9"),
        ({**GOOD, "priority": -1}, 422, "invalid_field", "0 to 9"),
        ({**GOOD, "priority": "high"}, 422, "invalid_field", "`priority` must be a whole number, not a text"),
        ({**GOOD, "priority": True}, 422, "invalid_field", "`priority`"),
        ({**GOOD, "priority": None}, 422, "invalid_field", "`priority`"),
        ({**GOOD, "priority": 1.5}, 422, "invalid_field", "`priority`"),
        ({**GOOD, "timeout_s": 0}, 422, "invalid_field", "`timeout_s`"),
        ({**GOOD, "timeout_s": -1}, 422, "invalid_field", "`timeout_s`"),
        ({**GOOD, "timeout_s": 1e9}, 422, "invalid_field", "`timeout_s`"),
        ({**GOOD, "deadline": "tomorrow"}, 422, "invalid_field", "ISO 8601"),
        ({**GOOD, "deadline": "2001-01-01T00:00:00Z"}, 422, "invalid_field", "already passed"),
        ({**GOOD, "deadline": 5}, 422, "invalid_field", "`deadline` must be a text"),
        ({**GOOD, "callback_url": "ftp://x"}, 422, "callback_refused", "http:// or https://"),
        ({**GOOD, "callback_url": "http://169.254.169.254/"}, 422, "callback_refused", "not a public address"),
        ({**GOOD, "callback_url": "http://2130706433/"}, 422, "callback_refused", "a number in disguise"),
        ({**GOOD, "callback_events": ["finished"]}, 422, "invalid_field", "goes with `callback_url`"),
        ({**GOOD, "callback_url": "https://a.example", "callback_events": []}, 422, "invalid_field", "must name"),
        ({**GOOD, "callback_url": "https://a.example", "callback_events": ["x"]}, 422, "invalid_field", "must name"),
        ({**GOOD, "metadata": [1]}, 422, "invalid_field", "`metadata` must be an object"),
        ({**GOOD, "metadata": {"a": 2**70}}, 422, "invalid_field", "64 bits"),
        ({**GOOD, "metadata": {"$traceparent": "mine"}}, 422, "invalid_field", "$traceparent"),
        ({**GOOD, "timeout_s": 10**400}, 422, "invalid_field", ""),
        ({**GOOD, "priority": 10**4000}, 422, "invalid_field", ""),
        ({"input_data": None}, 422, "invalid_tensor", "not null"),
        ({**GOOD, "metadata": {"a": "b" * 5000}}, 413, "too_large", "4096"),
        ({"input_data": {"y": [1]}}, 422, "invalid_tensor", "`x` is missing"),
        ({"input_data": {"x": [1, 2, 3]}}, 422, "invalid_tensor", "expected float32 [batch, 2]"),
        ({"input_data": {"x": [[1.25, 2.5]] * 20_000}}, 413, "too_large", "input_ref"),
        ({"input_ref": "upload:123"}, 404, "upload_not_found", "123"),
        ({"input_ref": "s3://x"}, 422, "invalid_field", "upload:<upload_id>"),
        ({**GOOD, "input_ref": "upload:" + new_id()}, 422, "invalid_field", "stand both"),
    ],
)
def test_bad_input_is_refused_and_nothing_is_stored(client, core, service, body, status, code, says):
    response = post(client, service, body)

    assert says in refusal(response, status, code)["message"]
    assert core.jobs.store.rows == {}
    assert core.jobs.bell.rung == []


@pytest.mark.parametrize(
    "body",
    [
        {**GOOD, "a" * 100_000: 1},
        {"input_data": {"x": [1, 2], "b" * 100_000: 1}},
        {"input_data": {"x": {"c" * 100_000: 1}}},
        {"input_data": {"x": {"data": [1, 2], "dtype": "d" * 100_000, "shape": [2]}}},
        {"input_data": {"x": {"data": [1, 2], "dtype": "float32", "shape": [1] * 30_000}}},
        '{"input_data": {}, "metadata": {"' + "e" * 2000 + '": 1, "' + "e" * 2000 + '": 2}}',
    ],
)
def test_a_refusal_does_not_repeat_what_is_long(client, service, body):
    response = post(client, service, body)

    assert response.status_code in (400, 422)
    assert len(response.data) < 1000


def test_an_explicit_null_is_as_good_as_absence(client, service):
    response = post(client, service, {**GOOD, "timeout_s": None, "deadline": None, "callback_url": None})

    assert response.status_code == 202


@pytest.mark.parametrize("kind", ["application/json", "text/plain", "application/x-www-form-urlencoded", None])
def test_json_is_read_whatever_it_is_called(client, service, kind):
    assert post(client, service, GOOD, content_type=kind).status_code == 202


def test_a_form_with_files_is_no_json(client, service):
    response = client.post(f"{BASE}/services/{service.id}/tasks", data={"file": (io.BytesIO(b"x"), "x")})

    refusal(response, 415, "unsupported_media_type")


def test_a_body_over_the_limit_is_refused_before_it_is_read(client, service):
    response = post(client, service, b" " * (16_777_216 + 1))

    assert refusal(response, 413, "too_large")["details"]["limit_bytes"] == 16_777_216


@pytest.mark.parametrize("service_id", ["nope", "0" * 32, "%00", "a" * 5000])
def test_an_unknown_or_malformed_service_is_not_found(client, service_id):
    response = client.post(f"{BASE}/services/{service_id}/tasks", json=GOOD)

    refusal(response, 404, "service_not_found")


def test_a_stopped_service_takes_no_task(client, core):
    stopped = fakes.add_service(core, state=ServiceState.STOPPED)

    refusal(post(client, stopped, GOOD), 409, "wrong_state")


def test_a_store_that_is_away_is_503_with_retry_after(client, core, service):
    core.jobs.store.is_away = True

    response = post(client, service, GOOD)

    refusal(response, 503, "store_unavailable")
    assert response.headers["Retry-After"] == "2"


def test_the_same_key_and_body_give_the_first_answer_again(client, core, service):
    headers = {"Idempotency-Key": "order-17"}

    first = post(client, service, GOOD, headers=headers)
    again = post(client, service, GOOD, headers=headers)
    other = post(client, service, {"input_data": {"x": [5, 6]}}, headers=headers)

    assert first.status_code == again.status_code == 202
    assert first.json == again.json
    assert first.headers["Location"] == again.headers["Location"]
    refusal(other, 409, "idempotency_mismatch")
    assert len(core.jobs.store.rows) == 1


@pytest.mark.parametrize("is_batch", [False, True])
def test_the_first_answer_is_given_again_also_after_the_deadline(client, core, service, monkeypatch, is_batch):
    path, body = ("/batch", {"input_data_list": [{"x": [1, 2]}]}) if is_batch else ("", GOOD)
    url = f"/api/v1/inference/services/{service.id}/tasks{path}"
    body = {**body, "deadline": clock.iso(clock.epoch_s() + 3600)}
    headers = {"Idempotency-Key": "order-17"}

    first = client.post(url, json=body, headers=headers)
    later = clock.epoch_s() + 7200
    monkeypatch.setattr("inference.clock.epoch_s", lambda: later)
    monkeypatch.setattr(core.jobs.store, "now_s", lambda: later)
    again = client.post(url, json=body, headers=headers)
    other = client.post(url, json=body, headers={"Idempotency-Key": "order-18"})
    unkeyed = client.post(url, json=body)

    assert (first.status_code, again.status_code, again.json) == (202, 202, first.json)
    for refused in (other, unkeyed):
        refusal(refused, 422, "invalid_field")
        assert "already passed" in refused.json["message"]
    assert len(core.jobs.store.rows) == 1


def test_the_first_answer_is_given_again_also_when_it_filled_the_quota(client, core, service, application):
    class Full:
        is_full = False

        def admit(self, by, *, jobs, payload_bytes):
            if self.is_full:
                raise BacklogFull("1 task waits already and 1 may.", waiting=1, limit=1, retry_after_s=5)

    quota = Full()
    application.extensions[context.EXTENSION] = dataclasses.replace(
        core, jobs=dataclasses.replace(core.jobs, admission=quota)
    )
    headers = {"Idempotency-Key": "order-17"}

    first = post(client, service, GOOD, headers=headers)
    quota.is_full = True
    again = post(client, service, GOOD, headers=headers)

    assert (first.status_code, again.status_code, again.json) == (202, 202, first.json)
    refusal(post(client, service, GOOD, headers={"Idempotency-Key": "order-18"}), 429, "backlog_full")
    refusal(post(client, service, GOOD), 429, "backlog_full")
    assert len(core.jobs.store.rows) == 1


def test_the_first_answer_is_given_again_also_when_its_upload_is_gone(client, core, service):
    upload = fakes.add_upload(core, b'{"x": [[5, 6]]}')
    body = {"input_ref": f"upload:{upload}"}

    first = post(client, service, body, headers={"Idempotency-Key": "order-17"})
    core.registry.uploads.rows.clear()
    again = post(client, service, body, headers={"Idempotency-Key": "order-17"})

    assert (first.status_code, again.status_code, again.json) == (202, 202, first.json)
    refusal(post(client, service, body, headers={"Idempotency-Key": "order-18"}), 404, "upload_not_found")
    refusal(post(client, service, body), 404, "upload_not_found")
    assert len(core.jobs.store.rows) == 1


@pytest.mark.parametrize("key", ["", "a" * 256, "caf\u00e9"])
def test_an_impossible_idempotency_key_is_refused(client, service, key):
    refusal(post(client, service, GOOD, headers={"Idempotency-Key": key}), 422, "invalid_field")


def test_a_large_input_comes_by_upload(client, core, service):
    as_json = fakes.add_upload(core, b'{"x": [[5, 6], [7, 8]]}')
    file = io.BytesIO()
    np.savez(file, x=np.array([[5.0, 6.0]], dtype=np.float32))
    as_npz = fakes.add_upload(core, file.getvalue())

    by_json = post(client, service, {"input_ref": f"upload:{as_json}"})
    by_npz = post(client, service, {"input_ref": f"upload:{as_npz}"})

    rows = [core.jobs.store.rows[response.json["task_id"]] for response in (by_json, by_npz)]
    assert [row.rows for row in rows] == [2, 1]
    assert unpack(rows[1].payload)["x"].tolist() == [[5.0, 6.0]]


def test_base64_input_is_accepted(client, core, service):
    text = base64.b64encode(np.array([1.5, 2.5], dtype="<f4").tobytes()).decode()

    response = post(client, service, {"input_data": {"x": {"b64": text, "dtype": "float32", "shape": [2]}}})

    assert unpack(core.jobs.store.rows[response.json["task_id"]].payload)["x"].tolist() == [[1.5, 2.5]]
