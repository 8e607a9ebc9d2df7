"""Answers of predictions on their way into the cache: which are gathered, and that an outage costs nobody anything."""

import time
from types import SimpleNamespace

import pytest

from inference.errors import StoreUnavailable
from inference.jobs.cache import key_of
from inference.jobs.express_model import ExpressJob
from inference.jobs.kept_answers import KeptAnswers
from inference.jobs.model import Claimant, JobState, Outcome
from inference.serving.model import ServiceConfig
from tests.fakes_cache import FakeResultCache
from tests.fakes_jobs import bare_ports

BY = Claimant(service_id="s", instance_id="i", generation=1, worker="w", model_version="1.0.0", variant="me")


class Directory:
    def __init__(self, **config):
        self.service = SimpleNamespace(config=ServiceConfig(**config))

    def find(self, scope, service_id):
        return self.service, None


class AwayCache(FakeResultCache):
    def put(self, by, outcomes, keep):
        raise StoreUnavailable("The database is away.", part="sql", retry_after_s=1)


def ended(key, result=b"[1]"):
    now = time.time()
    job = ExpressJob(
        id="j",
        asker="a",
        tenant_id="t",
        attempt=1,
        max_attempts=1,
        priority=0,
        bucket="",
        rows=1,
        crashes=0,
        submitted_at=now,
        claimed_at=now,
        deadline=None,
        timeout_s=1.0,
        metadata_json=None,
        payload=b"p",
        input_key=key,
    )
    state = JobState.COMPLETED if result else JobState.FAILED
    return Outcome(job=job, state=state, started_at=now, ended_at=now, batch_size=1, result=result)


@pytest.fixture
def cache():
    return FakeResultCache()


def test_answers_of_this_version_are_kept_and_no_others(cache):
    kept = KeptAnswers(bare_ports(None, cache=cache, directory=Directory(cache_ttl_s=60.0)), BY)
    mine = key_of("me", b"p")

    kept.note([ended(mine), ended(key_of("other", b"p")), ended(None), ended(key_of("me", b"q"), result=None)])
    kept.put()

    assert cache.answers == {mine: b"[1]"}


def test_what_comes_soon_after_is_written_with_the_next_or_at_the_end(cache):
    kept = KeptAnswers(bare_ports(None, cache=cache, directory=Directory(cache_ttl_s=60.0)), BY)
    first, second = key_of("me", b"1"), key_of("me", b"2")

    kept.note([ended(first)])
    kept.put()
    kept.note([ended(second)])
    kept.put()
    before = set(cache.answers)
    kept.put(is_over=True)

    assert (before, set(cache.answers)) == ({first}, {first, second})


def test_a_service_that_has_changed_its_mind_keeps_nothing(cache):
    kept = KeptAnswers(bare_ports(None, cache=cache, directory=Directory(coalesce=True)), BY)

    kept.note([ended(key_of("me", b"p"))])
    kept.put(is_over=True)

    assert cache.answers == {}


def test_a_database_that_is_away_costs_the_answer_its_place_and_nothing_else():
    away = AwayCache()
    kept = KeptAnswers(bare_ports(None, cache=away, directory=Directory(cache_ttl_s=60.0)), BY)

    kept.note([ended(key_of("me", b"p"))])
    kept.put(is_over=True)

    assert away.answers == {}
