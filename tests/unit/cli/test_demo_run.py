"""The demo from start to end, with a system of plain functions under it."""

import json
import time
from functools import partial
from types import SimpleNamespace

import httpx
import pytest

from api.cli import demo
from api.cli.client import Client
from api.cli.failure import CallFailed
from inference.clock import iso

BASE = "/api/v1/inference"


class FakeSystem:
    """Says that it is ready; counts its ends."""

    def __init__(self, data_dir, *, port, is_kept, has_flower):
        self.data_dir, self.is_kept, self.has_flower = data_dir, is_kept, has_flower
        self.stops, self.pid = 0, 7
        FakeSystem.last = self

    def start(self):
        return "http://penstock.test"

    def urls(self):
        return {"api": "http://penstock.test", "flower": "http://penstock.test:5"}

    def stop(self):
        self.stops += 1
        return 0


class FakeServer:
    """The API as the demo uses it; `refusals` replace answers by path."""

    def __init__(self):
        self.refusals = {}
        self.statuses = ["deploying", "running"]

    def __call__(self, request):
        path = request.url.path
        if path in self.refusals:
            status, code = self.refusals[path]
            return httpx.Response(status, json={"code": code, "message": "No.", "details": {}})
        if path == "/v1/uploads":
            return httpx.Response(201, json={"upload_id": "u"})
        if path == "/v1/models/register":
            return httpx.Response(201, json={"model_id": "m"})
        if path == "/v1/models":
            return httpx.Response(200, json={"models": [{"model_id": "m", "version": "1.0.0"}]})
        if path == f"{BASE}/services":
            return httpx.Response(201, json={"service_id": "s"})
        if path == f"{BASE}/services/s/start":
            return httpx.Response(200, json={"status": "deploying"})
        if path == f"{BASE}/services/s":
            status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
            return httpx.Response(200, json={"status": status, "reason": "it is broken"})
        if path.endswith("/batch"):
            count = len(json.loads(request.content)["input_data_list"])
            return httpx.Response(202, json={"task_ids": ["t"] * count})
        if path.endswith("/tasks"):
            return httpx.Response(202, json={"task_id": "t"})
        return httpx.Response(200, json=self.task())

    def task(self):
        return {
            "task_id": "t",
            "status": "completed",
            "result": {"label": [3]},
            "latency": 0.01,
            "batch_size": 2,
            "created_at": iso(100.0),
            "completed_at": iso(100.01),
        }


@pytest.fixture
def server(monkeypatch):
    server = FakeServer()
    monkeypatch.setattr(demo, "System", FakeSystem)
    monkeypatch.setattr(demo, "Client", partial(Client, transport=httpx.MockTransport(server)))
    monkeypatch.setattr(demo.signal, "signal", lambda *_: None)
    # Its own clock, not the module's: other tests leave threads that sleep, and would spin.
    monkeypatch.setattr(demo, "time", SimpleNamespace(monotonic=time.monotonic, sleep=lambda _: None))
    return server


def run(**given):
    return demo.run(**({"is_kept": False, "data_dir": None, "port": 0, "is_json": True} | given))


def test_the_json_of_the_demo_has_its_figures_and_the_system_is_stopped(server, capsys):
    code = run()

    shown = json.loads(capsys.readouterr().out)
    assert code == 0
    assert {"accuracy", "jobs", "jobs_per_s", "p50_ms", "p95_ms", "max_batch"} <= set(shown)
    assert FakeSystem.last.stops > 0
    assert not FakeSystem.last.data_dir.exists()


def test_a_kept_demo_leaves_the_system_and_names_its_urls(server, capsys, tmp_path):
    code = run(is_kept=True, data_dir=str(tmp_path))

    shown = json.loads(capsys.readouterr().out)
    assert code == 0
    assert FakeSystem.last.stops == 0
    assert FakeSystem.last.has_flower
    assert shown["urls"]["flower"] == "http://penstock.test:5"
    assert shown["data_dir"] == str(tmp_path)


def test_people_get_tables(server, capsys):
    assert run(is_json=False) == 0
    assert "What just happened" in capsys.readouterr().out


def test_a_second_demo_on_the_same_folder_uses_the_model_that_is_there(server, capsys):
    server.refusals["/v1/models/register"] = (409, "version_exists")

    assert run() == 0


@pytest.mark.parametrize("path", ["/v1/models/register", f"{BASE}/services", f"{BASE}/services/s/tasks"])
def test_a_refusal_ends_the_demo_with_1_and_stops_the_system(server, capsys, path):
    server.refusals[path] = (422, "invalid_field")

    code = run()

    assert code == 1
    assert json.loads(capsys.readouterr().out)["code"] == "invalid_field"
    assert FakeSystem.last.stops > 0


def test_a_service_that_does_not_start_is_told_with_its_reason(server, capsys):
    server.statuses = ["error"]

    assert run() == 1
    assert "it is broken" in json.loads(capsys.readouterr().out)["message"]


def test_a_kept_demo_that_fails_leaves_nothing_running(server, capsys):
    server.statuses = ["error"]

    assert run(is_kept=True) == 1
    assert FakeSystem.last.stops > 0


@pytest.mark.parametrize(("stopped_by", "code"), [(KeyboardInterrupt(), 130), (CallFailed("No.", code="x"), 1)])
def test_what_ends_the_demo_ends_the_system(server, monkeypatch, capsys, stopped_by, code):
    def start(self):
        raise stopped_by

    monkeypatch.setattr(FakeSystem, "start", start)

    assert run() == code
    assert FakeSystem.last.stops > 0


def test_a_system_that_does_not_end_cleanly_is_a_failure(server, monkeypatch, capsys):
    monkeypatch.setattr(FakeSystem, "stop", lambda self: 137)

    assert run() == 1


@pytest.mark.parametrize(
    ("is_temporary", "database_url", "is_used"),
    [(True, None, False), (True, "postgresql://h/d", True), (False, None, True)],
)
def test_a_key_of_another_system_is_not_shown_to_a_fresh_one(monkeypatch, is_temporary, database_url, is_used):
    monkeypatch.setenv("PENSTOCK_API_KEY", "k")
    monkeypatch.delenv("PENSTOCK_DATABASE_URL", raising=False)
    if database_url:
        monkeypatch.setenv("PENSTOCK_DATABASE_URL", database_url)

    assert ("PENSTOCK_API_KEY" in demo._environ(is_temporary=is_temporary)) is is_used
