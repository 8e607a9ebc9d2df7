"""Live metrics through a whole system: a WebSocket client, a page in a browser, and the same figures by HTTP."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
import websocket

from tests import chromium
from tests.chromium import Chromium
from tests.services import wait_for
from tests.system import BASE, System

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

TASKS, PREDICTIONS = 40, 10
WATCH = """
window.heard = [];
window.socket = new WebSocket(location.origin.replace('http', 'ws') + '%s', ['penstock']);
socket.onopen = () => socket.send(JSON.stringify({action: 'subscribe', metrics: ['latency', 'throughput']}));
socket.onmessage = (event) => heard.push(JSON.parse(event.data));
true
"""


def connect(system: System, path: str) -> websocket.WebSocket:
    return websocket.create_connection(system.url.replace("http", "ws") + path, timeout=10)


def heard(socket: websocket.WebSocket, kind: str) -> dict[str, Any]:
    while (message := json.loads(socket.recv()))["type"] != kind:
        pass
    return dict(message)


def test_what_a_socket_is_pushed_is_what_happened_and_what_the_api_shows(system: System):
    service = system.run("double", config={"max_batch": 8})
    socket = connect(system, f"/api/inference/services/{service}/monitor")
    socket.send('{"action":"subscribe","metrics":["latency","throughput","queue_length","predictions"]}')
    subscribed = heard(socket, "subscribed")
    first = heard(socket, "metrics")

    system.submit_many(service, range(TASKS))
    for _ in range(PREDICTIONS):
        system.ask("POST", f"{BASE}/services/{service}/predict", {"input_data": {"x": [[1, 2, 3, 4]]}})
    pushed = [first]
    deadline = time.monotonic() + 15
    while sum(one["throughput"] for one in pushed) < TASKS + PREDICTIONS and time.monotonic() < deadline:
        pushed.append(heard(socket, "metrics"))
    socket.close()
    path, asked = f"{BASE}/services/{service}/metrics", {"from": first["at"], "step": 1}
    points: list[dict[str, Any]] = []

    def is_written() -> bool:
        points[:] = system.ask("GET", path, params=asked)["points"]
        done, came = (sum(point[name] for point in points) for name in ("throughput", "submitted"))
        return done >= TASKS + PREDICTIONS and came >= TASKS  # a busy machine counts queues less often

    try:
        wait_for(is_written, timeout_s=25, what="the same in the series")
    except AssertionError as late:
        raise AssertionError(f"{late}: pushed {pushed}, written {points}") from late

    assert subscribed["subscriptions"][0]["metrics"] == ["throughput", "predictions", "latency", "queue_length"]
    assert sum(one["throughput"] for one in pushed) == TASKS + PREDICTIONS
    assert sum(one["predictions"] for one in pushed) == PREDICTIONS
    assert sum(point["throughput"] for point in points) == TASKS + PREDICTIONS
    assert sum(point["submitted"] for point in points) == TASKS
    assert {round(one["latency"], 4) for one in pushed if one["latency"]} == {
        round(point["latency"], 4) for point in points if point["latency"]
    }
    assert system.metric("penstock_service_instances_ready") == 1


@pytest.mark.skipif(chromium.BINARY is None, reason="no Chromium")
def test_a_page_in_a_browser_hears_of_its_service(system: System, tmp_path: Path):
    service = system.run("double")
    browser = Chromium(tmp_path)
    try:
        browser.open(f"{system.url}/docs/")
        browser.until("document.readyState === 'complete'")

        browser.until(WATCH % f"{BASE}/services/{service}/monitor")
        browser.until("heard.filter((one) => one.type === 'metrics').length >= 2")
        told, protocol = browser.ask("heard[heard.length - 1]"), browser.ask("socket.protocol")
    finally:
        browser.close()

    assert protocol == "penstock"
    assert {"type", "service_id", "at", "latency", "throughput"} == set(told)
    assert browser.complaints == []
