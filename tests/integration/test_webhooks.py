"""Webhooks of a whole system: signed, sent again until they arrive, and never to where they must not go."""

import http.server
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from standardwebhooks.webhooks import Webhook

from inference.notify import guard
from inference.notify.post import HttpPost
from tests.system import BASE, System, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


class Receiver:
    """A real HTTP server on loopback. `answers`: the statuses to give, the last one for ever."""

    def __init__(self) -> None:
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.answers = [200]
        self.before_answer: Callable[[], None] = lambda: None
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.got.append(({name.lower(): value for name, value in self.headers.items()}, body))
                receiver.before_answer()
                status = receiver.answers.pop(0) if len(receiver.answers) > 1 else receiver.answers[0]
                self.send_response(status)
                self.send_header("Location", "http://127.0.0.1:1/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook?a=1"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def types(self) -> list[str]:
        return [json.loads(body)["type"] for _, body in self.got]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


def webhooks(system: System, task_id: str) -> list[dict]:
    return system.ask("GET", f"{BASE}/tasks/{task_id}/webhooks")["webhooks"]


def test_the_end_of_a_task_arrives_signed_with_its_result(system: System, receiver: Receiver):
    service = system.run("double")

    task_id = system.submit(service, 2.0, callback_url=receiver.url, callback_events=["started", "finished"])
    wait_for(lambda: len(receiver.got) == 2, timeout_s=15, what="two webhooks")

    (secret,) = system.ask("GET", f"{BASE}/webhooks/secret")["secrets"]
    verified = [Webhook(secret).verify(body.decode(), headers) for headers, body in receiver.got]
    told = {one["type"]: one for one in verified}
    assert set(told) == {"task.started", "task.finished"}
    assert told["task.finished"]["data"]["task_id"] == task_id
    assert told["task.finished"]["data"]["result"] == {"y": [[4.0] * 4]}
    ids = {headers["webhook-id"] for headers, _ in receiver.got}
    assert ids == {f"{task_id}.1.started", f"{task_id}.1.finished"}
    assert all(headers["host"] == receiver.url.split("/")[2] for headers, _ in receiver.got)


def test_a_receiver_that_fails_is_asked_again_with_the_same_id(system: System, receiver: Receiver):
    service = system.run("double")
    receiver.answers = [500, 302, 200]

    task_id = system.submit(service, callback_url=receiver.url)
    wait_for(lambda: receiver.got, timeout_s=15, what="the first attempt")
    wait_for(lambda: webhooks(system, task_id)[0]["attempts"] == 1, timeout_s=5, what="a settled attempt")
    first = webhooks(system, task_id)[0]
    for count in (2, 3):
        system.ask("POST", f"{BASE}/tasks/{task_id}/webhooks/resend")
        wait_for(lambda count=count: len(receiver.got) == count, timeout_s=10, what="another attempt")
    wait_for(lambda: webhooks(system, task_id)[0]["status"] == "delivered", timeout_s=5, what="delivered")

    assert (first["status"], first["last_status"], first["attempts"]) == ("pending", 500, 1)
    assert first["next_attempt_at"] > first["created_at"]
    assert len({headers["webhook-id"] for headers, _ in receiver.got}) == 1


def test_a_slow_receiver_holds_up_no_task_and_no_other_service(system: System, receiver: Receiver):
    slow, quick = system.run("double"), system.run("double")
    gate = threading.Event()
    receiver.before_answer = lambda: gate.wait(10)
    other = Receiver()

    try:
        held = [system.submit(slow, callback_url=receiver.url) for _ in range(12)]
        wait_for(lambda: receiver.got, timeout_s=15, what="a held webhook")
        began = time.monotonic()
        done = system.submit(quick, callback_url=other.url)
        wait_for(lambda: other.got, timeout_s=8, what="the other service's webhook")
        waited = time.monotonic() - began
    finally:
        gate.set()
        other.close()
    print(f"the other service's webhook came after {waited:.2f} s")
    assert all(system.task(task_id, wait_s=5)["status"] == "completed" for task_id in [*held, done])
    assert len(receiver.got) <= 12


@pytest.mark.parametrize(
    "host", ["2130706433", "0x7f000001", "0x7f.1", "017700000001", "127.1", "[::ffff:7f00:1]", "169.254.169.254"]
)
def test_a_disguised_address_is_refused_at_submission(system: System, host: str):
    service = system.run("double")

    body = {"input_data": {"x": [[1.0] * 4]}, "callback_url": f"http://{host}:80/"}

    refused = system.ask("POST", f"{BASE}/services/{service}/tasks", body, expect=422)

    assert refused["code"] == "callback_refused"


@pytest.mark.parametrize("host", ["2130706433", "0x7f.1", "localhost", "127.0.0.1"])
def test_nothing_is_sent_to_our_own_address_where_that_is_not_allowed(receiver: Receiver, host: str):
    port = receiver.url.split(":")[2].split("/")[0]

    answer = HttpPost()(f"http://{host}:{port}/", body=b"{}", headers={})

    assert answer.is_hopeless
    assert receiver.got == []


def test_a_receiver_that_drips_is_hung_up_on():
    """A byte of the answer's head every 0.1 s: each read is quick, and the whole would never end."""
    listener = socket.create_server(("127.0.0.1", 0))
    ended = threading.Event()

    def drip() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            for byte in b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 600:
                if ended.wait(0.1):
                    return
                try:
                    connection.sendall(bytes([byte]))
                except OSError:
                    return

    thread = threading.Thread(target=drip, daemon=True)
    thread.start()
    post = HttpPost(allowed=lambda: guard.LOOPBACK, timeout_s=1.0)
    began = time.monotonic()

    answer = post(f"http://127.0.0.1:{listener.getsockname()[1]}/", body=b"{}", headers={})

    ended.set()
    listener.close()
    assert answer.status is None
    assert answer.error
    assert time.monotonic() - began < 10
