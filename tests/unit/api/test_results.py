"""Results, streamed: every one once, in order, with what was asked for and nothing else."""

import json

import pytest

from api.v1 import results
from inference.errors import StoreUnavailable
from inference.ids import new_id, new_ids
from inference.jobs.model import JobState, JobView
from tests import fakes

BASE = "/api/v1/inference"


def add(core, service, count, state=JobState.COMPLETED, **values):
    ids = new_ids(count)
    for job_id in ids:
        core.jobs.store.views_by_id[job_id] = JobView(
            id=job_id,
            service_id=service.id,
            state=state,
            priority=values.get("priority", 0),
            attempts=1,
            created_at=1.0,
            completed_at=2.0,
            result=b'{"y":[[1.0]]}' if state is JobState.COMPLETED else None,
            error_code=None if state is JobState.COMPLETED else "engine_failed",
        )
    return ids


def read(client, service, query=""):
    response = client.get(f"{BASE}/services/{service.id}/results{query}")
    assert (response.status_code, response.mimetype) == (200, "application/x-ndjson")
    return [json.loads(line) for line in response.data.splitlines()]


def test_every_result_comes_once_and_as_the_task_shows_it(client, core, service, monkeypatch):
    monkeypatch.setattr(results, "PAGE", 7)
    ids = add(core, service, 20)
    add(core, service, 1, JobState.PENDING)
    add(core, fakes.add_service(core, model=fakes.add_model(core, name="other")), 1)

    told = read(client, service)

    assert [line["task_id"] for line in told] == ids
    alone = client.get(f"{BASE}/tasks/{ids[3]}").json
    assert told[3] == {name: value for name, value in alone.items() if name not in ("queue_position", "eta_s")}


def test_a_download_goes_on_behind_the_last_line_that_came(client, core, service, monkeypatch):
    monkeypatch.setattr(results, "PAGE", 3)
    ids = add(core, service, 10)

    first = read(client, service, "?limit=4")
    rest = read(client, service, f"?after={first[-1]['task_id']}")

    assert [line["task_id"] for line in first + rest] == ids
    assert read(client, service, f"?after={ids[-1]}") == []


def test_filters_choose(client, core, service):
    add(core, service, 2)
    failed = add(core, service, 2, JobState.FAILED)
    urgent = add(core, service, 1, priority=9)

    assert [line["task_id"] for line in read(client, service, "?status=failed")] == failed
    assert [line["task_id"] for line in read(client, service, "?priority=9")] == urgent


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("?status=pending", "invalid_field"),
        ("?after=x", "invalid_field"),
        ("?from=yesterday", "invalid_field"),
        ("?from=2026-11-21&to=2026-11-20", "invalid_field"),
        ("?limit=0", "invalid_field"),
        ("?colour=1", "unknown_field"),
    ],
)
def test_what_cannot_be_asked_is_refused(client, service, query, code):
    response = client.get(f"{BASE}/services/{service.id}/results{query}")

    assert (response.status_code, response.json["code"]) == (422, code)


def test_an_unknown_service_has_no_results(client):
    assert client.get(f"{BASE}/services/{new_id()}/results").json["code"] == "service_not_found"


def test_a_store_that_goes_away_half_way_is_told_in_the_last_line(client, core, service, monkeypatch):
    monkeypatch.setattr(results, "PAGE", 3)
    ids = add(core, service, 10)
    page = core.bulk.page

    def dying(*asked, after, limit):
        if after is not None:
            raise StoreUnavailable("The database is away.", part="sql", retry_after_s=1)
        return page(*asked, after=after, limit=limit)

    core.bulk.page = dying
    told = read(client, service)
    core.bulk.page = lambda *_, **__: dying(after="", limit=1)
    at_once = client.get(f"{BASE}/services/{service.id}/results")

    assert [line.get("task_id") for line in told] == [*ids[:3], None]
    assert told[-1]["error"]["code"] == "store_unavailable"
    assert (at_once.status_code, at_once.json["code"]) == (503, "store_unavailable")
