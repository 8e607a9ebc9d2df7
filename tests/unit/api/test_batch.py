"""T2: a JSON list, all or nothing; JSON Lines, as far as they are good."""

import io
import json

import pytest

from api import lines
from inference.ids import new_id
from tests import fakes

BASE = "/api/v1/inference"
X = {"x": [1.0, 2.0]}


def post(client, service, body, **options):
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    return client.post(f"{BASE}/services/{service.id}/tasks/batch", data=text, **options)


def post_lines(client, service, lines, **options):
    options.setdefault("content_type", "application/x-ndjson")
    return post(client, service, b"\n".join(lines), **options)


def line(values=(1.0, 2.0), **fields):
    return json.dumps({"input_data": {"x": list(values)}, **fields}).encode()


def test_a_list_is_accepted_in_order_with_one_commit(client, core, service):
    response = post(client, service, {"input_data_list": [{"x": [i, i]} for i in range(5)], "priority": 3})

    assert response.status_code == 202
    ids = response.json["task_ids"]
    assert (len(ids), response.json["count"], core.jobs.store.commits) == (5, 5, 1)
    assert {core.jobs.store.rows[task_id].priority for task_id in ids} == {3}
    assert list(core.jobs.store.rows) == ids


def test_one_bad_input_refuses_the_whole_list_by_its_index(client, core, service):
    response = post(client, service, {"input_data_list": [X, X, {"x": ["a", "b"]}, X]})

    assert (response.status_code, response.json["code"]) == (422, "invalid_tensor")
    assert response.json["message"].startswith("input_data_list[2]: Tensor `x` holds a text")
    assert response.json["details"]["index"] == 2
    assert core.jobs.store.rows == {}


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 422, "invalid_field"),
        ({"input_data_list": []}, 422, "invalid_field"),
        ({"input_data_list": {}}, 422, "invalid_field"),
        ({"input_data_list": [X], "priority": 11}, 422, "invalid_field"),
        ({"input_data_list": [X], "colour": 1}, 422, "unknown_field"),
        ({"input_data_list": [1]}, 422, "invalid_tensor"),
        ({"input_data_list": [{"x": [1.0] * 50_000}]}, 413, "too_large"),
        (b'{"input_data_list": [{"x": [1, 2], "x": [1, 2]}]}', 400, "duplicate_key"),
        (b'{"input_data_list": [], "input_data_list": [{"x": [1, 2]}]}', 400, "duplicate_key"),
        (b"[", 400, "malformed_json"),
    ],
)
def test_a_bad_list_is_refused(client, core, service, body, status, code):
    response = post(client, service, body)

    assert (response.status_code, response.json["code"]) == (status, code)
    assert core.jobs.store.rows == {}


def test_more_than_ten_thousand_inputs_are_too_many(client, service):
    response = post(client, service, {"input_data_list": [X] * 10_001})

    assert (response.status_code, response.json["code"]) == (413, "too_large")
    assert "JSON Lines" in response.json["message"]


def test_the_same_key_and_list_give_the_first_ids_again(client, core, service):
    headers = {"Idempotency-Key": "k"}

    first = post(client, service, {"input_data_list": [X, X]}, headers=headers)
    again = post(client, service, {"input_data_list": [X, X]}, headers=headers)

    assert first.json == again.json
    assert len(core.jobs.store.rows) == 2


def test_lines_are_committed_in_handfuls(client, core, service):
    count = 2 * lines.CHUNK_LINES + 7

    response = post_lines(client, service, [line((i, i), priority=i % 10) for i in range(count)])

    assert response.status_code == 202
    assert response.json["count"] == len(response.json["task_ids"]) == count
    assert core.jobs.store.commits == 3
    assert list(core.jobs.store.rows) == response.json["task_ids"]
    assert [row.priority for row in core.jobs.store.rows.values()][:12] == [*range(10), 0, 1]


@pytest.mark.parametrize("kind", ["application/x-ndjson", "application/jsonl", "application/jsonlines; charset=utf-8"])
def test_every_name_of_json_lines_is_known(client, service, kind):
    assert post_lines(client, service, [line()], content_type=kind).json["count"] == 1


def test_empty_lines_and_a_last_line_without_end_are_fine(client, service):
    assert post_lines(client, service, [line(), b"", b"  ", line() + b"\r"]).json["count"] == 2


def test_lines_without_a_priority_take_the_one_of_the_query(client, core, service):
    client.post(
        f"{BASE}/services/{service.id}/tasks/batch?priority=6",
        data=b"\n".join([line(), line(priority=2)]),
        content_type="application/x-ndjson",
    )

    assert [row.priority for row in core.jobs.store.rows.values()] == [6, 2]


def test_a_bad_line_keeps_what_came_before_it(client, core, service):
    response = post_lines(client, service, [line(), line(), line((1, 2, 3)), line()])

    assert (response.status_code, response.json["code"]) == (422, "invalid_tensor")
    assert response.json["message"].startswith("Line 3: Tensor `x` came as shape [3]")
    details = response.json["details"]
    assert (details["line"], details["accepted"]) == (3, 2)
    assert details["task_ids"] == list(core.jobs.store.rows)


def test_a_bad_line_in_a_later_handful_tells_its_own_number(client, core, service):
    good = [line()] * (lines.CHUNK_LINES + 10)

    response = post_lines(client, service, [*good, b"{oops"])

    assert (response.status_code, response.json["code"]) == (400, "malformed_json")
    assert response.json["details"]["line"] == len(good) + 1
    assert response.json["details"]["accepted"] == len(core.jobs.store.rows) == len(good)


def test_a_line_without_end_is_too_large(client, core, service):
    response = post_lines(client, service, [line(), b'{"input_data": {"x": [' + b"1," * 200_000])

    assert (response.status_code, response.json["code"]) == (413, "too_large")
    assert response.json["details"]["line"] == 2
    assert len(core.jobs.store.rows) == 1


def test_a_last_line_without_end_may_be_as_long_as_any_other(client, core, service):
    limit = core.settings.api.inline_limit_bytes
    text = b'{"input_data": {"x": [1, 2]%s}, "metadata": {"note": "%s"}}' % (b" " * (limit - 100), b"n" * 4000)

    response = post_lines(client, service, [line(), text])

    assert len(text) > limit
    assert (response.status_code, response.json["count"]) == (202, 2)


def test_no_line_at_all_is_refused(client, service):
    assert post_lines(client, service, [b""]).json["code"] == "invalid_field"


def test_a_key_does_not_go_with_lines(client, core, service):
    response = post_lines(client, service, [line()], headers={"Idempotency-Key": "k"})

    assert (response.status_code, response.json["code"]) == (422, "invalid_field")
    assert core.jobs.store.rows == {}


def test_ids_are_streamed_back_as_lines_when_asked(client, core, service):
    body = [line()] * (lines.CHUNK_LINES + 1)

    response = post_lines(client, service, [*body, b"{}"], headers={"Accept": "application/x-ndjson"})

    told = [json.loads(text) for text in response.data.splitlines()]
    assert (response.status_code, response.mimetype) == (202, "application/x-ndjson")
    assert [one["task_id"] for one in told[:-1]] == list(core.jobs.store.rows)
    assert told[-1]["error"]["code"] == "invalid_field"
    assert told[-1]["error"]["details"]["line"] == len(body) + 1


def test_a_store_that_goes_away_in_between_tells_what_was_accepted(client, core, service):
    class Dying(io.BytesIO):
        def readinto(self, buffer):
            core.jobs.store.is_away = self.tell() > 0
            return super().readinto(buffer)

    many = b"\n".join([line((0.125, 0.25), metadata={"pad": "p" * 100})] * 2000)

    response = client.post(
        f"{BASE}/services/{service.id}/tasks/batch",
        input_stream=Dying(many),
        content_length=len(many),
        content_type="application/x-ndjson",
    )

    assert (response.status_code, response.json["code"]) == (503, "store_unavailable")
    assert response.json["details"]["accepted"] == len(core.jobs.store.rows)


def test_an_unknown_service_is_not_found_before_a_line_is_read(client):
    response = client.post(
        f"{BASE}/services/{new_id()}/tasks/batch", data=b"{oops", content_type="application/x-ndjson"
    )

    assert (response.status_code, response.json["code"]) == (404, "service_not_found")


def test_other_models_are_other_signatures(client, core):
    service = fakes.add_service(core, model=fakes.add_model(core, name="other", inputs=(fakes.Y,)))

    assert post(client, service, {"input_data_list": [{"y": [1, 2]}]}).status_code == 202
    assert post(client, service, {"input_data_list": [X]}).status_code == 422
