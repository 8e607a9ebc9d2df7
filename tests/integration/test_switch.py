"""A running service is taken to another version of its model: nobody is refused, nothing is lost."""

import os
import threading

import httpx
import pytest

from tests.load import Load
from tests.services import wait_for
from tests.system import BASE, System

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

DOES_NOT_LOAD = "does not run: The test engine was asked not to load"


def register(system: System, version: str, framework: str = "double") -> str:
    body = {
        "name": f"switched-{os.getpid()}",
        "version": version,
        "framework": framework,
        "model_path": str(system.model),
        "metadata": {},
        "accuracy_metrics": {},
        "deployment_config": {},
    }
    return str(system.ask("POST", "/v1/models/register", body, expect=201)["model_id"])


def switch(system: System, service: str, model_id: str) -> None:
    system.ask("PATCH", f"{BASE}/services/{service}", {"model_id": model_id})


def is_alone(system: System, service: str, revision: int) -> bool:
    """Whether the replicas of that revision are ready, and there are no others."""
    rows = system.rows("SELECT revision, observed FROM replicas WHERE service_id = :s", s=service)
    return [tuple(row) for row in rows] == [(revision, "ready")]


class Predictions:
    """One client that asks again and again: what it was answered."""

    def __init__(self, system: System, service: str) -> None:
        self._url, self._path = system.url, f"{BASE}/services/{service}/predict"
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._ask)
        self.told: list[tuple[int, str]] = []

    def __enter__(self) -> "Predictions":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _ask(self) -> None:
        with httpx.Client(base_url=self._url, timeout=20) as client:
            while not self._is_over.wait(0.005):
                answer = client.post(self._path, json={"input_data": {"x": [[1.0] * 4]}})
                self.told.append((answer.status_code, answer.json().get("model_version", "")))


@pytest.mark.alone
def test_a_switch_under_load_refuses_and_loses_nothing_and_ends_at_the_new_version(system: System):
    service = system.create(register(system, "1.0.0"))
    system.begin(service)
    system.until_ready(service)
    following = register(system, "1.1.0")

    with Load(system, service, clients=2) as load, Predictions(system, service) as predictions:
        wait_for(lambda: len(load.acknowledged) > 20 and predictions.told, timeout_s=20, what="load")
        switch(system, service, following)
        wait_for(lambda: is_alone(system, service, 2), timeout_s=30, what="the old replica gone")
        before = len(predictions.told), len(load.told)
        wait_for(lambda: len(predictions.told) > before[0] + 5, timeout_s=20, what="answers of the new one")
        wait_for(lambda: len(load.told) > before[1] + 5, timeout_s=20, what="tasks for the new one")
    system.until_done(service, timeout_s=30)

    rows = {row.id: row for row in system.jobs(service)}
    versions = [rows[task].model_version for task in sorted(load.acknowledged)]
    assert set(load.statuses()) == {202}
    assert {status for status, _ in predictions.told} == {200}
    assert {(row.state, row.attempt, row.crashes) for row in rows.values()} == {("completed", 1, 0)}
    assert (versions[0], versions[-1], set(versions)) == ("1.0.0", "1.1.0", {"1.0.0", "1.1.0"})
    assert {version for _, version in predictions.told[before[0] + 1 :]} == {"1.1.0"}


def test_a_version_that_does_not_load_leaves_the_old_one_at_work(system: System):
    good, bad = register(system, "2.0.0"), register(system, "2.1.0", framework="crash-on-load")
    service = system.create(good)
    system.begin(service)
    system.until_ready(service)

    switch(system, service, bad)
    wait_for(lambda: DOES_NOT_LOAD in str(system.show(service).get("reason")), timeout_s=30, what="a reason")
    meanwhile = system.task(system.submit(service), wait_s=20)
    switch(system, service, good)
    wait_for(lambda: is_alone(system, service, 3), timeout_s=30, what="the first version again")

    assert (meanwhile["status"], meanwhile["model_version"]) == ("completed", "2.0.0")
    shown = system.show(service)
    assert (shown["status"], shown["model_id"], shown.get("reason")) == ("running", good, None)
