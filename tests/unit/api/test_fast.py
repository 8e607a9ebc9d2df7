"""The hot calls of the live process: who is let in, what waits on a thread, and what an overload meets."""

import asyncio
import dataclasses
import json
import threading

import pytest
from werkzeug.test import Client

from api import context
from api.live import fast as fast_room
from api.live.fast import Fast
from inference import waiting
from inference.errors import BacklogFull, WouldWait
from tests.through_live import ThroughLive

GOOD = {"input_data": {"x": [1.0, 2.0]}}


@pytest.fixture
def client(application, core):
    application.extensions[context.EXTENSION] = core
    return Client(ThroughLive(application))


@pytest.fixture
def url(service):
    return f"/api/v1/inference/services/{service.id}/tasks"


def test_every_answer_carries_the_headers_of_all_answers(client, url):
    accepted, refused = client.post(url, json=GOOD), client.post(url, json={})

    for answer in (accepted, refused):
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Origin": "null"}],
)
def test_a_page_of_another_site_may_not_submit(client, core, url, headers):
    answer = client.post(url, json=GOOD, headers=headers)

    assert (answer.status_code, answer.json["code"]) == (403, "cross_origin")
    assert core.jobs.store.rows == {}


def test_a_wrong_key_is_no_way_in(client, core, url):
    answer = client.post(url, json=GOOD, headers={"Authorization": "Bearer pst_nobodys"})

    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, 'Bearer realm="penstock"')
    assert core.jobs.store.rows == {}


def test_a_compressed_body_is_refused_before_it_is_read(client, url):
    answer = client.post(url, data=b"x", headers={"Content-Encoding": "gzip"})

    assert (answer.status_code, answer.json["code"]) == (415, "unsupported_media_type")


def test_in_production_a_body_must_say_that_it_is_json(client, application, core, url):
    settings = dataclasses.replace(core.settings, mode="production")
    application.extensions[context.EXTENSION] = dataclasses.replace(core, settings=settings)

    said = client.post(url, data=json.dumps(GOOD), content_type="application/json; charset=utf-8")
    unsaid = client.post(url, data=json.dumps(GOOD), content_type="text/plain")

    assert (said.status_code, unsaid.status_code) == (202, 415)


def test_more_calls_than_may_be_under_way_are_told_to_come_again(client, url, monkeypatch):
    monkeypatch.setattr(fast_room, "MOST_UNDER_WAY", 0)

    answer = client.post(url, json=GOOD)

    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "1")


def test_a_full_backlog_says_when_to_come_again(client, application, core, url):
    class Full:
        def admit(self, by, *, jobs, payload_bytes):
            raise BacklogFull("Full.", waiting=1, limit=1, retry_after_s=5)

    jobs = dataclasses.replace(core.jobs, admission=Full())
    application.extensions[context.EXTENSION] = dataclasses.replace(core, jobs=jobs)

    answer = client.post(url, json=GOOD)

    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "5")


def test_what_would_keep_the_loop_waiting_is_done_on_a_thread(core):
    threads = []

    def step(word):
        threads.append(threading.get_ident())
        waiting.refuse_on_loop()
        return word

    async def scenario():
        fast = Fast(None, core)
        waiting.forbid_here()
        try:
            return await fast.aside(step, "done"), threading.get_ident()
        finally:
            waiting.allow_again()
            fast.close()

    found, loop_thread = asyncio.run(scenario())

    assert found == "done"
    assert threads[0] == loop_thread
    assert len(threads) == 2
    assert threads[1] != loop_thread


def test_the_store_refuses_to_be_waited_for_on_a_loop():
    waiting.forbid_here()
    try:
        with pytest.raises(WouldWait):
            waiting.refuse_on_loop()
    finally:
        waiting.allow_again()
    waiting.refuse_on_loop()
