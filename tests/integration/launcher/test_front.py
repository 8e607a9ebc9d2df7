"""The real front before stand-ins: what it refuses, what it streams, whom it asks, and who cannot hold it up."""

import json
import os
import select
import signal
import socket
import time

import pytest

from tests.integration.launcher.running import until, up

LIMIT = 100_000
BASE = "/api/v1/inference"
JSON_LINES = "application/x-ndjson"


@pytest.fixture(scope="module")
def system(tmp_path_factory):
    with up(tmp_path_factory.mktemp("front"), PENSTOCK_API__BODY_LIMIT_BYTES=str(LIMIT)) as running:
        until(lambda: running.who() and running.who(f"{BASE}/tasks/1?wait=1"), 5)
        yield running


def error(body: bytes) -> tuple[str, dict]:
    answer = json.loads(body)
    assert set(answer) == {"code", "message", "details"}
    return answer["code"], answer["details"]


def raw(system, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", system.port), timeout=5) as connection:
        connection.sendall(request)
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
    return answer


@pytest.mark.parametrize(
    ("path", "role"),
    [
        (f"{BASE}/tasks/7f?wait=30", "live"),
        ("/api/inference/tasks/7f?a=b&wait=30", "live"),
        (f"{BASE}/tasks/7f/events", "live"),
        (f"{BASE}/services/7f/monitor", "live"),
        (f"{BASE}/tasks/7f", "api"),
        (f"{BASE}/tasks/7f?wait=", "api"),
        (f"{BASE}/tasks/7f?waiting=3", "api"),
        (f"{BASE}/tasks?wait=30", "api"),
        (f"{BASE}/services/7f/tasks?wait=30", "api"),
        ("/readyz", "api"),
    ],
)
def test_what_waits_goes_to_the_live_process_and_everything_else_to_the_api(system, path, role):
    status, body, _ = system.ask("GET", path)

    assert status == 200
    assert body.split()[0].decode() == role
    assert body.split()[4].decode() == path


def test_the_host_that_the_client_asked_for_is_passed_on(system):
    _, body, _ = system.ask("GET", "/", Host="penstock.example:99")

    assert body.split()[3] == b"penstock.example:99"


def test_a_task_posted_with_wait_is_not_a_long_poll(system):
    _, body, _ = system.ask("POST", f"{BASE}/tasks/7f?wait=3", b"{}")

    assert body.split()[0] == b"api"


def test_a_body_up_to_twice_the_limit_reaches_the_api_and_a_larger_one_is_refused_as_json(system):
    passed, _, _ = system.ask("POST", "/", b"x" * (2 * LIMIT))
    status, body, headers = system.ask("POST", "/", b"x" * (2 * LIMIT + 1))

    assert passed == 200
    assert status == 413
    assert headers["Content-Type"] == "application/json"
    assert error(body) == ("too_large", {"limit_bytes": LIMIT})


def test_a_chunked_body_over_the_limit_is_refused_too(system):
    chunk = b"%x\r\n%s\r\n" % (50_000, b"x" * 50_000)

    answer = raw(
        system,
        b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
        + chunk * 5
        + b"0\r\n\r\n",
    )

    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b'"too_large"' in answer


@pytest.mark.parametrize(
    ("path", "content_type"),
    [
        ("/v1/uploads", "application/octet-stream"),
        (f"{BASE}/uploads", "application/octet-stream"),
        (f"{BASE}/services/7f/tasks/batch", JSON_LINES),
        ("/api/inference/services/7f/tasks/batch", f"{JSON_LINES}; charset=utf-8"),
    ],
)
def test_uploads_and_json_lines_may_be_of_any_length(system, path, content_type):
    status, body, _ = system.ask("POST", path, b"x" * (20 * LIMIT), Content_Type=content_type)

    assert status == 200
    assert int(body.split()[2]) == 20 * LIMIT
    assert body.split()[4].decode() == path


def test_slow_uploads_hold_half_of_the_threads_and_health_checks_go_on(system):
    head = b"POST /v1/uploads HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nx"
    wires = [socket.create_connection(("127.0.0.1", system.port), timeout=5) for _ in range(20)]
    try:
        for wire in wires:
            wire.sendall(head)
        refused, _, _ = select.select(wires, [], [], 2)
        answer = refused[0].recv(65536)

        assert system.ask("GET", "/")[0] == 200
    finally:
        for wire in wires:
            wire.close()

    assert answer.startswith(b"HTTP/1.1 429 ")
    assert b"Retry-After: 2" in answer
    assert b'"too_many_waiting"' in answer


def test_json_lines_are_handed_on_while_they_arrive(system):
    head = (
        f"POST {BASE}/services/7f/tasks/batch HTTP/1.1\r\nHost: a\r\nContent-Type: {JSON_LINES}\r\n"
        "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    ).encode()
    with socket.create_connection(("127.0.0.1", system.port), timeout=5) as connection:
        for part in (head, *[b"3e8\r\n" + b"y" * 1000 + b"\r\n"] * 500):
            connection.sendall(part)
        connection.sendall(b"0\r\n\r\n")
        answer = connection.recv(65536)

    assert b"200 OK" in answer
    assert b" 500000 " in answer


def test_a_json_batch_is_limited_like_any_json(system):
    status, _, _ = system.ask(
        "POST", f"{BASE}/services/7f/tasks/batch", b"x" * (2 * LIMIT + 1), Content_Type="application/json"
    )

    assert status == 413


@pytest.mark.parametrize(
    ("request_", "status", "code"),
    [
        (b"GET / NONSENSE/7\r\nHost: a\r\n\r\n", b"400", b"bad_request"),
        (b"GET / HTTP/1.1\r\n\r\n", b"400", b"bad_request"),
        (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", b"431", b"headers_too_large"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 70_000 + b"\r\n\r\n", b"431", b"headers_too_large"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\n", b"400", b"bad_request"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: odd\r\n\r\n", b"400", b"bad_request"),
    ],
)
def test_what_is_not_http_is_answered_as_json(system, request_, status, code):
    answer = raw(system, request_)

    assert answer.split(b"\r\n")[0].split(b" ")[1] == status
    assert code in answer


def test_300_stalled_bodies_hold_up_nobody(system):
    head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\n\r\nabc"
    stalled = [socket.create_connection(("127.0.0.1", system.port)) for _ in range(300)]
    try:
        for connection in stalled:
            connection.sendall(head)
        time.sleep(0.2)

        began = time.monotonic()
        statuses = {system.ask("POST", "/", b"quick")[0] for _ in range(20)}
        took_s = (time.monotonic() - began) / 20
    finally:
        for connection in stalled:
            connection.close()

    assert statuses == {200}
    assert took_s < 0.1


def test_1200_idle_connections_hold_up_nobody(system):
    idle = [socket.create_connection(("127.0.0.1", system.port)) for _ in range(1200)]
    try:
        assert system.ask("GET", "/")[0] == 200
    finally:
        for connection in idle:
            connection.close()


def test_while_the_api_restarts_the_answer_is_503_with_retry_after_and_then_it_is_back(system):
    role, killed = system.who()
    os.kill(system.pid("api"), signal.SIGKILL)

    # A killed process may answer one request more: the signal takes its time on a busy machine.
    refused = until_answer(lambda: system.ask("GET", "/"), lambda status, body: status != 200)
    took_s = until(lambda: system.who() not in (None, (role, killed)), 3.0)

    status, body, headers = refused
    assert (status, headers["Retry-After"]) == (503, "1")
    assert error(body)[0] == "unavailable"
    assert took_s < 3.0


def until_answer(ask, is_wanted):
    for _ in range(200):
        answer = ask()
        if is_wanted(*answer[:2]):
            return answer
    raise AssertionError(f"200 answers and none that was wanted; the last: {answer}")
