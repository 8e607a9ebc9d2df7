"""Kept answers through the API: what a hit looks like at each door, the figures, and the switch that empties it all."""

import dataclasses

import pytest
from werkzeug.test import Client

from api import context
from api.v1 import predict
from inference.jobs.cache import key_of, variant
from inference.jobs.model import Accepted, JobState
from inference.serving.model import ServiceState
from inference.tensors import NanPolicy
from tests import fakes
from tests.through_live import ThroughLive

BASE = "/api/v1/inference"
BODY = {"input_data": {"x": [[1.0, 2.0]]}}
OTHER = {"input_data": {"x": [[1.0, 3.0]]}}


class NeverAsked:
    async def ask(self, asked, *, wait_s, gone=None):
        raise AssertionError("an answer that is kept needs nobody")


@pytest.fixture
def cached(core):
    """A running service whose answers are kept."""
    service = fakes.add_service(core, cache_ttl_s=60.0)
    core.serving.services.rows[service.id] = dataclasses.replace(service, state=ServiceState.RUNNING)
    return service


def keep(core, service, answer=b'{"y":[[9.0]]}'):
    """Whatever is asked first has this answer."""
    found = core.jobs.cache.find

    def find(of, input_key, **how):
        core.jobs.cache.answers.setdefault(input_key, answer)
        return found(of, input_key, **how)

    core.jobs.cache.find = find


@pytest.mark.parametrize("door", ["live", "flask"])
def test_a_prediction_with_a_kept_answer_asks_nobody(door, application, core, cached):
    application.extensions[context.EXTENSION] = core
    application.extensions[predict.EXTENSION] = NeverAsked()
    client = Client(ThroughLive(application, NeverAsked())) if door == "live" else application.test_client()
    keep(core, cached)

    shown = client.post(f"{BASE}/services/{cached.id}/predict", json=BODY)
    del application.extensions[predict.EXTENSION]

    assert shown.status_code == 200, shown.text
    assert (shown.json["prediction"], shown.json["cached"], shown.json["model_version"]) == (
        {"y": [[9.0]]},
        True,
        "1.0.0",
    )


def test_a_service_that_keeps_nothing_is_not_looked_up(client, core, service):
    client.post(f"{BASE}/services/{service.id}/tasks", json=BODY)

    (job,) = core.jobs.store.rows.values()
    assert (job.input_key, core.jobs.cache.looks) == (None, [])


def test_keys_tell_equal_inputs_and_versions(client, core, cached):
    for body in (BODY, OTHER, BODY):
        client.post(f"{BASE}/services/{cached.id}/tasks", json=body)

    keys = [job.input_key for job in core.jobs.store.rows.values()]
    assert keys[0] == keys[2] != keys[1]
    assert keys[0].startswith(variant(cached.model_id, NanPolicy.NULL))
    others = {variant("b" * 32, NanPolicy.NULL), variant(cached.model_id, NanPolicy.PASS)}
    assert not any(key_of(who, b"") == keys[0] or keys[0].startswith(who) for who in others)


def test_a_task_with_a_kept_answer_is_completed_when_it_is_accepted(client, core, cached, monkeypatch):
    store = core.jobs.store

    def insert(submissions, **how):
        answers = store.__class__.insert(store, submissions, **how)
        for answer in answers:
            for job_id in answer.job_ids:
                store.complete(job_id)
                store.change(job_id, attempts=0, worker=None)
        return [
            Accepted(job_ids=one.job_ids, created_at=one.created_at, cached_ids=frozenset(one.job_ids))
            for one in answers
        ]

    monkeypatch.setattr(store, "insert", insert)

    accepted = client.post(f"{BASE}/services/{cached.id}/tasks", json=BODY)
    shown = client.get(f"{BASE}/tasks/{accepted.json['task_id']}")

    assert accepted.status_code == 202
    assert (accepted.json["status"], accepted.json["cached"]) == ("completed", True)
    assert (shown.json["status"], shown.json["cached"], shown.json["attempts"]) == ("completed", True, 0)
    assert "coalesced" not in shown.json


def test_a_task_that_shared_a_run_says_so_and_one_that_ran_says_nothing(client, core, service):
    for _ in range(2):
        client.post(f"{BASE}/services/{service.id}/tasks", json=BODY)
    shared, own = core.jobs.store.views_by_id
    for one in (shared, own):
        core.jobs.store.complete(one)
    core.jobs.store.change(shared, attempts=0)

    told = [client.get(f"{BASE}/tasks/{one}").json for one in (shared, own)]

    assert core.jobs.store.views_by_id[shared].state is JobState.COMPLETED
    assert (told[0]["coalesced"], "cached" in told[0]) == (True, False)
    assert not {"cached", "coalesced"} & set(told[1])


def test_the_figures_of_a_cache_and_its_end(client, core, cached):
    keep(core, cached)
    client.application.extensions[context.EXTENSION] = core

    empty = client.get(f"{BASE}/services/{cached.id}/cache").json
    core.jobs.cache.answers = {"k": b"12345"}
    core.jobs.cache.hits = 3
    shown = client.get(f"{BASE}/services/{cached.id}/cache").json
    cleared = client.delete(f"{BASE}/services/{cached.id}/cache")

    assert (empty["entries"], empty["hit_ratio"], empty["ttl_s"]) == (0, None, 60.0)
    assert (shown["entries"], shown["size_bytes"], shown["hits"], shown["hit_ratio"]) == (1, 5, 3, 0.75)
    assert (cleared.status_code, cleared.json, core.jobs.cache.answers) == (200, {"removed": 1}, {})


def test_no_cache_of_a_service_that_is_not_there(client):
    for method in ("get", "delete"):
        refused = getattr(client, method)(f"{BASE}/services/{'0' * 32}/cache")

        assert (refused.status_code, refused.json["code"]) == (404, "service_not_found")


def test_keys_of_a_config_are_read_and_need_no_new_replica(client, core, service):
    config = {"coalesce": True, "cache_ttl_s": 30, "cache_max_bytes": "1Mi", "cache_warm": 5}

    shown = client.patch(f"{BASE}/services/{service.id}", json={"config": config})
    refused = client.patch(f"{BASE}/services/{service.id}", json={"config": {"cache_ttl_s": 0}})

    changed = core.serving.services.rows[service.id]
    assert shown.status_code == 200, shown.text
    assert changed.revision == service.revision
    assert (changed.config.coalesce, changed.config.cache_ttl_s) == (True, 30.0)
    assert (changed.config.cache_max_bytes, changed.config.cache_warm) == (1 << 20, 5)
    assert (refused.status_code, refused.json["details"]["field"]) == (422, "config.cache_ttl_s")
