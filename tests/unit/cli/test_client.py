"""The small client: what goes out, and how a failure comes back."""

import httpx
import pytest

from api.cli.client import Client
from api.cli.failure import CallFailed

BASE = "/api/v1/inference"


def client(server) -> Client:
    return Client("http://penstock.test/", transport=httpx.MockTransport(server))


def test_a_refusal_carries_code_sentence_status_and_details(server):
    server.answers["POST", f"{BASE}/services/s/start"] = (
        409,
        {"code": "wrong_state", "message": "It is deleted.", "details": {"state": "stopped"}},
    )

    with pytest.raises(CallFailed) as caught:
        client(server).move_service("s", "start")

    assert (caught.value.code, caught.value.message, caught.value.status) == ("wrong_state", "It is deleted.", 409)
    assert caught.value.details == {"state": "stopped"}


def test_nobody_there_is_told_with_what_to_do(server):
    server.is_away = True

    with pytest.raises(CallFailed, match=r"No Penstock answers at http://penstock.test; start one with ./penstock up"):
        client(server).services()


def test_a_page_of_somebody_else_is_not_taken_for_an_answer(server):
    server.answers["GET", "/readyz"] = (502, "<html>bad gateway</html>")

    with pytest.raises(CallFailed, match="not Penstock's") as caught:
        client(server).ready()

    assert caught.value.status == 502


def test_a_good_status_with_a_foreign_text_is_refused_too(server):
    server.answers["GET", "/readyz"] = (200, "<html>hello</html>")

    with pytest.raises(CallFailed, match="not JSON"):
        client(server).ready()


def test_a_timeout_is_not_a_traceback():
    def slow(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadTimeout("slow", request=request)

    with pytest.raises(CallFailed, match="did not answer in time"):
        Client("http://penstock.test", transport=httpx.MockTransport(slow)).ready()


def test_an_empty_answer_is_an_empty_object(server):
    server.answers["DELETE", "/v1/models/m"] = (204, None)

    assert client(server).delete_model("m") == {}


def test_filters_that_were_not_given_are_not_sent(server):
    server.answers["GET", f"{BASE}/tasks"] = (200, {"tasks": []})

    client(server).jobs(status="pending", service_id=None)

    assert dict(server.requests[-1].url.params) == {"status": "pending"}


def test_lines_go_out_as_json_lines_without_the_blank_ones(server):
    server.answers["POST", f"{BASE}/services/s/tasks/batch"] = (202, {"task_ids": ["a", "b"]})

    client(server).submit_lines("s", [b'{"x": 1}\n', b"\n", b'{"x": 2}'])

    assert server.requests[-1].content == b'{"x": 1}\n{"x": 2}\n'
    assert server.requests[-1].headers["content-type"] == "application/x-ndjson"


def test_the_idempotency_key_travels_as_a_header(server):
    server.answers["POST", f"{BASE}/services/s/tasks"] = (202, {"task_id": "a"})

    client(server).submit("s", {"input_data": {}}, idempotency_key="order-7")

    assert server.requests[-1].headers["idempotency-key"] == "order-7"


def test_a_text_that_is_no_url_is_refused_in_words():
    with pytest.raises(CallFailed, match="not a URL"):
        Client("http://penstock:port")
