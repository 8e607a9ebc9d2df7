"""Drain slots and hot results on a real Valkey."""

import time

import msgspec
import pytest

from inference.errors import HotUnavailable
from inference.ids import new_id
from inference.jobs.model import JobState, JobView
from inference.redisio.client import SLOTS_KEY, WAKE_KEY, RedisLink
from inference.redisio.hot import RedisHotResults
from inference.redisio.slots import Slots, Wake, express_wake
from inference.settings import RedisSettings, ResultsSettings, Settings
from workers.engine_host import wake_of_others


@pytest.fixture
def link(redis_url):
    opened = RedisLink(Settings(redis_url=redis_url))
    opened.client.flushdb()
    yield opened
    opened.close()


@pytest.fixture
def slots(link):
    return Slots(link)


def test_a_ring_takes_each_free_slot_once_and_then_leaves_wake_tokens(slots, link):
    rung = [slots.ring_or_wake("s", slots=2, token=f"t{i}") for i in range(6)]

    assert rung == [0, 1, None, None, None, None]
    assert link.client.llen(WAKE_KEY + "s") == 2


def test_a_slot_is_given_back_only_when_nobody_woke_it(slots):
    slots.ring_or_wake("s", slots=1, token="mine")
    slots.ring_or_wake("s", slots=1, token="later")

    assert slots.release_if_no_wake("s", slot=0, token="mine") is False
    assert slots.release_if_no_wake("s", slot=0, token="mine") is True
    assert slots.ring_or_wake("s", slots=1, token="next") == 0


def test_a_forged_token_moves_nothing(slots, link):
    slots.ring_or_wake("s", slots=1, token="mine")
    before = link.client.hgetall(SLOTS_KEY + "s")

    assert slots.renew("s", slot=0, token="forged") is False
    assert slots.release_if_no_wake("s", slot=0, token="forged") is True
    assert link.client.hgetall(SLOTS_KEY + "s") == before


def test_a_slot_whose_lease_ran_out_is_free(slots, link):
    slots.ring_or_wake("s", slots=1, token="dead")
    link.client.hset(SLOTS_KEY + "s", 0, "dead|1")

    assert slots.ring_or_wake("s", slots=1, token="alive") == 0
    assert slots.renew("s", slot=0, token="dead") is False


def test_flushed_keys_are_as_if_nothing_had_been_rung(slots, link):
    slots.ring_or_wake("s", slots=1, token="mine")

    link.client.flushall()

    assert slots.release_if_no_wake("s", slot=0, token="mine") is True
    assert slots.ring_or_wake("s", slots=1, token="next") == 0


def test_a_wake_token_ends_the_wait(slots):
    slots.ring_or_wake("s", slots=1, token="mine")
    slots.ring_or_wake("s", slots=1, token="later")

    assert slots.wait("s", timeout_s=0.2) is Wake.JOBS
    assert slots.wait("s", timeout_s=0.05) is None


@pytest.mark.parametrize("wake", Wake)
def test_a_wake_token_that_the_poller_took_reaches_the_drain_that_lingers(slots, link, wake):
    name = express_wake("s") if wake is Wake.EXPRESS else WAKE_KEY + "s"
    link.client.lpush(name, "1")

    taken = wake_of_others(slots, "s", timeout_s=0.2, is_draining=lambda: True)
    heard = slots.wait("s", timeout_s=0.2)

    assert (taken, heard) == (True, wake)
    assert slots.wait("s", timeout_s=0.05) is None


def test_a_wake_token_that_nobody_else_waits_for_stays_with_the_poller(slots, link):
    link.client.lpush(WAKE_KEY + "s", "1")

    taken = wake_of_others(slots, "s", timeout_s=0.2, is_draining=lambda: False)

    assert taken
    assert slots.wait("s", timeout_s=0.05) is None


VIEW = JobView(
    id=new_id(),
    service_id=new_id(),
    state=JobState.COMPLETED,
    priority=3,
    attempts=1,
    created_at=1.0,
    started_at=2.0,
    completed_at=time.time() + 3600,
    batch_size=4,
    model_version="1.0.0",
    worker="w",
    metadata_json='{"a": 1}',
    result=b'{"y":[[1.0]]}',
)


def test_a_hot_copy_is_what_was_put_and_belongs_to_its_tenant(link):
    hot = RedisHotResults(link, ResultsSettings())

    hot.put("default", VIEW.service_id, [VIEW])

    assert hot.get("default", VIEW.id) == VIEW
    assert hot.get("other", VIEW.id) is None
    assert hot.get("default", new_id()) is None


def test_a_large_result_is_announced_but_not_copied(link):
    hot = RedisHotResults(link, ResultsSettings(hot_max_bytes=100))
    listener = link.client.pubsub(ignore_subscribe_messages=True)
    listener.subscribe("pst:done")
    listener.get_message(timeout=1)

    hot.put("default", VIEW.service_id, [msgspec.structs.replace(VIEW, result=b"1" * 200)])

    assert hot.get("default", VIEW.id) is None
    assert VIEW.id.encode() in listener.get_message(timeout=1)["data"]
    listener.close()


def test_without_redis_nothing_raises_but_the_slots_and_the_breaker_answers_at_once():
    link = RedisLink(Settings(redis_url="redis://127.0.0.1:1/0", redis=RedisSettings(breaker_s=30)))
    hot, slots = RedisHotResults(link, ResultsSettings()), Slots(link)

    hot.put("default", VIEW.service_id, [VIEW])

    assert hot.get("default", VIEW.id) is None
    assert link.is_open
    assert slots.wait("s", timeout_s=5) is None
    with pytest.raises(HotUnavailable):
        slots.ring_or_wake("s", slots=1, token="t")
