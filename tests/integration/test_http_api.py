"""The two servers of the API as they run: granian and uvicorn over a real database and a real Valkey."""

import json
import socket
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from inference.settings import StoreSettings
from inference.store import migrate
from inference.store.database import Database
from tests import services

BASE = "/api/v1/inference"
ROOT = Path(__file__).parents[2]


class Servers:
    """One granian with two workers, one live process; no worker node: tasks stay where they are."""

    def __init__(self, folder: Path, redis_url: str) -> None:
        self.folder = folder
        self.ports = {"api": services.free_port(), "live": services.free_port()}
        environ = {
            "PENSTOCK_DATA_DIR": str(folder),
            "PENSTOCK_REDIS_URL": redis_url,
            "PENSTOCK_API__WORKERS": "2",
            "PENSTOCK_ENGINES__PLUGINS": "double=tests.engines_for_tests:Double",
            "PYTHONPATH": str(ROOT),
        }
        database = Database(f"sqlite:///{folder}/penstock.db", StoreSettings())
        migrate.upgrade(database)
        database.close()
        modules = {"api": "workers.http_host", "live": "api.live.server"}
        self.processes = [
            services.Process(
                [sys.executable, "-m", module, "--host", "127.0.0.1", "--port", str(self.ports[role])],
                folder,
                environ={**environ, "PENSTOCK_ROLE": role},
            )
            for role, module in modules.items()
        ]
        self.api = httpx.Client(base_url=self.url("api"), timeout=30)
        self.live = httpx.Client(base_url=self.url("live"), timeout=70)

    def url(self, role: str) -> str:
        return f"http://127.0.0.1:{self.ports[role]}"

    def start(self) -> "Servers":
        for process in self.processes:
            process.start()
        for client in (self.api, self.live):
            services.wait_for(lambda client=client: answers(client), timeout_s=40, what=str(client.base_url))
        return self

    def stop(self) -> None:
        self.api.close()
        self.live.close()
        for process in self.processes:
            process.stop()


def answers(client):
    try:
        return client.get("/healthz").status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture(scope="module")
def servers(shared_valkey):
    with tempfile.TemporaryDirectory(prefix="penstock-http-", ignore_cleanup_errors=True) as name:
        started = Servers(Path(name), shared_valkey.url)
        try:
            yield started.start()
        finally:
            started.stop()


@pytest.fixture(scope="module")
def service_id(servers):
    """A service that queues while it is stopped, over a model of `x`, float32 [batch, 4]."""
    artefact = servers.folder / "model.bin"
    artefact.write_bytes(b"weights")
    body = {"name": "double", "version": "1.0.0", "framework": "double", "model_path": str(artefact)}
    model = servers.api.post("/v1/models/register", json=body)
    assert model.status_code == 201, model.text
    config = {"queue_while_stopped": True}
    made = servers.api.post(f"{BASE}/services", json={"model_id": model.json()["model_id"], "config": config})
    assert made.status_code == 201, made.text
    return made.json()["service_id"]


@pytest.fixture
def task_id(servers, service_id):
    body = {"input_data": {"x": [1, 2, 3, 4]}}
    return servers.api.post(f"{BASE}/services/{service_id}/tasks", json=body).json()["task_id"]


def lines(count):
    for number in range(count):
        yield b'{"input_data": {"x": [1, 2, 3, %d]}, "priority": %d}\n' % (number, number % 10)


def test_lines_stream_in_and_ids_stream_out(servers, service_id):
    path, kind = f"{BASE}/services/{service_id}/tasks/batch", "application/x-ndjson"

    accepted = servers.api.post(path, content=lines(1200), headers={"Content-Type": kind}).json()
    streamed = servers.api.post(path, content=lines(1200), headers={"Content-Type": kind, "Accept": kind})

    assert accepted["count"] == len(set(accepted["task_ids"])) == 1200
    told = [json.loads(text) for text in streamed.text.splitlines()]
    assert told[-1] == {"count": 1200}
    assert len({one["task_id"] for one in told[:-1]}) == 1200
    last = servers.api.get(f"{BASE}/tasks/{accepted['task_ids'][-1]}").json()
    assert (last["status"], last["priority"]) == ("pending", 9)


def test_a_chunked_body_over_the_limit_is_refused_and_the_connection_lives_on(servers, service_id):
    path = f"{BASE}/services/{service_id}/tasks"

    too_large = servers.api.post(path, content=(b" " * (1 << 20) for _ in range(18)))
    after = servers.api.post(path, content=iter([b'{"input_data": ', b'{"x": [1, 2, 3, 4]}}']))

    assert (too_large.status_code, too_large.json()["code"]) == (413, "too_large")
    assert after.status_code == 202, after.text


def test_one_key_sent_by_many_at_once_makes_one_task(servers, service_id):
    def send(_):
        headers = {"Idempotency-Key": "at-once"}
        body = {"input_data": {"x": [9, 9, 9, 9]}}
        return servers.api.post(f"{BASE}/services/{service_id}/tasks", json=body, headers=headers)

    with ThreadPoolExecutor(8) as pool:
        responses = list(pool.map(send, range(24)))

    assert {response.status_code for response in responses} == {202}
    assert len({response.text for response in responses}) == 1


def test_a_large_input_goes_by_upload(servers, service_id):
    rows = json.dumps({"x": [[0.5, 1.5, 2.5, 3.5]] * 20_000}).encode()

    inline = servers.api.post(f"{BASE}/services/{service_id}/tasks", content=b'{"input_data": %s}' % rows)
    upload = servers.api.post(f"{BASE}/uploads", content=iter([rows])).json()
    by_reference = servers.api.post(
        f"{BASE}/services/{service_id}/tasks", json={"input_ref": f"upload:{upload['upload_id']}"}
    )

    assert (inline.status_code, upload["size_bytes"]) == (413, len(rows))
    assert by_reference.status_code == 202, by_reference.text


def test_a_long_poll_hears_of_the_end_through_redis(servers, task_id):
    with ThreadPoolExecutor(1) as pool:
        poll = pool.submit(servers.live.get, f"{BASE}/tasks/{task_id}?wait=30")
        services.wait_for(lambda: waiting(servers) == 1, timeout_s=10, what="the poll waits")
        servers.api.post(f"{BASE}/tasks/{task_id}/cancel")
        ended = time.monotonic()
        response = poll.result(timeout=10)

    assert time.monotonic() - ended < 0.9, "sooner than the first re-reading"
    assert response.json()["status"] == "cancelled"
    assert response.text == servers.api.get(f"{BASE}/tasks/{task_id}").text


def test_who_hangs_up_is_not_waited_for(servers, task_id):
    with socket.create_connection(("127.0.0.1", servers.ports["live"])) as connection:
        connection.sendall(f"GET {BASE}/tasks/{task_id}?wait=60 HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        services.wait_for(lambda: waiting(servers) == 1, timeout_s=10, what="the poll waits")

    services.wait_for(lambda: waiting(servers) == 0, timeout_s=2, what="the poll is forgotten")


def waiting(servers):
    return httpx.get(f"{servers.url('live')}/healthz").json()["waiting"]


def test_what_is_not_ready_is_named(servers):
    response = servers.api.get("/readyz")

    parts = response.json()["details"]["parts"]
    assert response.status_code == 503
    assert (parts["store"], parts["broker"]) == ("ok", "ok")
    assert parts["control"] != "ok"
    assert parts["node"] != "ok"


def test_metrics_add_up_over_the_workers(servers, service_id):
    def submitted():
        text = servers.api.get("/metrics").text
        name = f'penstock_http_requests_total{{route="{BASE}/services/<service_id>/tasks",status="202"}} '
        return next((float(line.removeprefix(name)) for line in text.splitlines() if line.startswith(name)), 0.0)

    time.sleep(1.0)  # what other tests did is booked by now
    before = submitted()
    for _ in range(20):
        with httpx.Client(base_url=servers.url("api")) as fresh:
            fresh.post(f"{BASE}/services/{service_id}/tasks", json={"input_data": {"x": [1, 2, 3, 4]}})

    services.wait_for(lambda: submitted() == before + 20, timeout_s=5, what="the figures are booked")
