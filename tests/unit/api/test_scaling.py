"""What the API tells of the autoscaler, over fakes."""

import dataclasses

import pytest

from inference.scaling.ports import Target
from inference.serving.model import AutoScaling, ServiceConfig
from tests import fakes

BASE = "/api/v1/inference"


@pytest.fixture
def service(core):
    made = fakes.add_service(core)
    config = ServiceConfig(auto_scaling=AutoScaling(enabled=True, min_replicas=0, max_replicas=4))
    made = core.serving.services.rows[made.id] = dataclasses.replace(made, config=config)
    core.scaling.store.services[made.id] = made
    return made


def decide(core, service, replicas, reason):
    store = core.scaling.store
    target = Target(replicas=replicas, instances=1)
    assert store.decide(store.services[service.id], target, policy="slo_drain", reason=reason, signals='{"jobs": 3}')
    core.serving.services.rows[service.id] = store.services[service.id]


def test_a_service_shows_its_target_and_what_led_there(client, core, service):
    before = client.get(f"{BASE}/services/{service.id}/scaling").json
    decide(core, service, 3, "1 -> 3: many jobs wait")
    after = client.get(f"{BASE}/services/{service.id}/scaling").json

    assert (before["enabled"], before["target"], before["decisions"]) == (True, {"replicas": 1, "instances": 1}, [])
    assert "reason" not in before
    assert (after["target"]["replicas"], after["reason"]) == (3, "1 -> 3: many jobs wait")
    (decision,) = after["decisions"]
    assert (decision["from"], decision["to"]) == ({"replicas": 1, "instances": 1}, {"replicas": 3, "instances": 1})
    assert (decision["policy"], decision["signals"]) == ("slo_drain", {"jobs": 3})


def test_a_resting_service_says_so_and_why(client, core, service):
    decide(core, service, 0, "4 -> 0: no job came for 300 s")

    shown = client.get(f"{BASE}/services/{service.id}").json

    assert (shown["status"], shown["replicas"], shown["reason"]) == ("running", 0, "4 -> 0: no job came for 300 s")
    assert client.get(f"{BASE}/services/{service.id}/scaling").json["is_resting"] is True


def test_decisions_are_listed_by_page_newest_first(client, core, service):
    for replicas in (2, 3, 4):
        decide(core, service, replicas, f"-> {replicas}")

    first = client.get(f"{BASE}/scaling/decisions?limit=2").json
    second = client.get(f"{BASE}/scaling/decisions?limit=2&cursor={first['next']}").json

    assert [one["to"]["replicas"] for one in first["decisions"]] == [4, 3]
    assert [one["to"]["replicas"] for one in second["decisions"]] == [2]
    assert "next" not in second


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/services/x/scaling", 404, "service_not_found"),
        (f"/services/{'0' * 32}/scaling", 404, "service_not_found"),
        (f"/scaling/decisions?service_id={'0' * 32}", 404, "service_not_found"),
        ("/scaling/decisions?cursor=x", 422, "invalid_field"),
        ("/scaling/decisions?colour=1", 422, "unknown_field"),
    ],
)
def test_what_is_not_there_is_refused(client, path, status, code):
    response = client.get(BASE + path)

    assert (response.status_code, response.json["code"]) == (status, code)
