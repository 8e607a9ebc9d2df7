"""The express lane on a real Valkey: asking, taking, answering, giving up."""

import asyncio
import time

import pytest

from inference.errors import BacklogFull, HotUnavailable
from inference.ids import new_id
from inference.jobs.express_model import Asked, Told
from inference.redisio.client import EXPRESS_KEY, WAKE_KEY, RedisLink
from inference.redisio.express import RedisExpress, member_of
from inference.redisio.express_asker import Asker
from inference.redisio.slots import Slots, Wake
from inference.settings import JobsSettings, RedisSettings, Settings
from tests.fakes import Silent

SERVICE = "f" * 32


def asked(key=1.0, *, bucket="3", rows=1, life_s=60.0, payload=b"p"):
    now = time.time()
    return Asked(
        id=new_id(),
        service_id=SERVICE,
        slots=1,
        order_key=key,
        tenant_id="default",
        key_id=None,
        priority=0,
        submitted_at=now,
        deadline=now + life_s,
        timeout_s=60.0,
        bucket=bucket,
        rows=rows,
        payload=payload,
    )


@pytest.fixture
def link(redis_url):
    opened = RedisLink(Settings(redis_url=redis_url))
    yield opened
    opened.close()


@pytest.fixture
def lane(link):
    return RedisExpress(link)


def put(link, *predictions, asker="a1"):
    for one in predictions:
        link.client.zadd(EXPRESS_KEY + SERVICE, {member_of(one, asker): one.order_key})


def take(lane, max_rows=8, *, told=None, holder="i:0"):
    return lane.exchange(SERVICE, told=told or {}, max_rows=max_rows, now=time.time(), holder=holder)


def test_a_batch_is_the_head_of_the_queue_of_one_bucket_within_the_rows(link, lane):
    wanted = [asked(1.0), asked(2.0, rows=2)]
    put(link, asked(4.0), *wanted, asked(3.0, rows=2), asked(5.0, bucket="4"))

    first, second, third = take(lane, 4), take(lane, 4), take(lane, 4)

    assert [job.id for job in first.jobs] == [one.id for one in wanted]
    assert (first.jobs[0].payload, first.jobs[0].asker, first.jobs[1].rows) == (b"p", "a1", 2)
    assert [(len(found.jobs), found.left) for found in (first, second, third)] == [(2, 3), (2, 1), (1, 0)]


def test_what_is_late_goes_and_a_head_too_large_comes_alone(link, lane):
    put(link, asked(1.0, life_s=-1.0), asked(2.0, rows=9), asked(3.0))

    found, nothing = take(lane, 4), take(lane, 0)

    assert [job.rows for job in found.jobs] == [9]
    assert (nothing.jobs, nothing.left) == ((), 1)


def test_how_many_wait_in_each_service_is_asked_at_once(link, lane):
    put(link, asked(), asked())

    assert lane.waiting_in([SERVICE, "e" * 32]) == {SERVICE: 2, "e" * 32: 0}
    assert lane.waiting_in([]) == {}


def test_an_exchange_hears_that_jobs_were_rung_for(link, lane):
    link.client.lpush(WAKE_KEY + SERVICE, "1")

    assert [take(lane).is_woken for _ in range(2)] == [True, False]


def test_what_an_instance_died_with_is_told_as_lost_to_those_who_wait(link, lane):
    one = asked()
    put(link, one, asker="who")
    heard = link.client.pubsub(ignore_subscribe_messages=True)
    heard.subscribe("pst:told:who")
    heard.get_message(timeout=1)
    take(lane, holder="i:1")

    lost = lane.lost("i:1"), lane.lost("i:1")
    message = heard.get_message(timeout=1)
    heard.close()

    assert lost == (1, 0)
    assert one.id.encode() in message["data"]
    assert b"instance_lost" in message["data"]


class Asking:
    """An asker with a worker's end beside it, for one event loop."""

    def __init__(self, redis_url, **jobs):
        self.settings = Settings(redis_url=redis_url, jobs=JobsSettings(**jobs))
        self.bell = Silent()
        self.asker = Asker(self.settings, self.bell)
        self.link = RedisLink(self.settings)
        self.lane = RedisExpress(self.link)

    async def serve(self, count):
        """Answers so many, each with its own payload."""
        told = {}
        while count:
            found = await asyncio.to_thread(take, self.lane, 8, told=told)
            told = {"": []} if found.jobs else {}
            for job in found.jobs:
                told.setdefault(job.asker, []).append(Told(id=job.id, result=job.payload, model_version="1.0.0"))
            count -= len(found.jobs)
        await asyncio.to_thread(self.lane.tell, told)

    async def close(self):
        await self.asker.close()
        self.link.close()


def test_everybody_hears_their_own_answer_and_the_bell_rings_for_a_free_slot(redis_url):
    async def run():
        asking = Asking(redis_url)
        serving = asyncio.create_task(asking.serve(20))
        wanted = [asked(payload=b"%d" % place) for place in range(20)]
        answers = await asyncio.gather(*(asking.asker.ask(one, wait_s=5) for one in wanted))
        await serving
        await asking.close()
        return answers, asking

    answers, asking = asyncio.run(run())

    assert [told.result for told in answers] == [b"%d" % place for place in range(20)]
    assert asking.bell.rung == [SERVICE]
    assert len(asking.asker) == 0


def test_who_gives_up_or_goes_takes_the_request_back(redis_url):
    async def run():
        asking = Asking(redis_url)
        gone = asyncio.get_running_loop().create_future()
        leaving = asyncio.create_task(asking.asker.ask(asked(), wait_s=30, gone=lambda: gone))
        while not asking.lane.waiting(SERVICE):
            await asyncio.sleep(0.01)
        late = await asking.asker.ask(asked(), wait_s=0.1)
        gone.set_result(None)
        left = await leaving
        while asking.lane.waiting(SERVICE):
            await asyncio.sleep(0.01)
        await asking.close()
        return late, left

    assert asyncio.run(asyncio.wait_for(run(), 10)) == (None, None)


def test_one_too_many_is_refused_at_once(redis_url):
    async def run():
        asking = Asking(redis_url, express_limit=2)
        asks = [asyncio.create_task(asking.asker.ask(asked(), wait_s=0.3)) for _ in range(3)]
        found = await asyncio.gather(*asks, return_exceptions=True)
        await asking.close()
        return found

    found = asyncio.run(run())

    assert [type(one) for one in found].count(BacklogFull) == 1
    assert found.count(None) == 2


def test_a_drain_that_lingers_is_woken_by_a_prediction(redis_url):
    async def run():
        asking = Asking(redis_url)
        slots = Slots(asking.link)
        slots.ring_or_wake(SERVICE, slots=1, token="mine")
        asks = asyncio.create_task(asking.asker.ask(asked(), wait_s=0.3))
        woken = await asyncio.to_thread(slots.wait, SERVICE, timeout_s=1)
        await asyncio.to_thread(take, asking.lane)
        await asks
        is_released = slots.release_if_no_wake(SERVICE, slot=0, token="mine")
        await asking.close()
        return woken, is_released

    woken, is_released = asyncio.run(run())

    assert (woken, is_released) == (Wake.EXPRESS, True)


def test_without_redis_a_prediction_is_refused():
    async def run():
        redis = RedisSettings(connect_timeout_s=0.2)
        asker = Asker(Settings(redis_url="redis://127.0.0.1:1/0", redis=redis), Silent())
        try:
            return await asker.ask(asked(), wait_s=5)
        finally:
            await asker.close()

    with pytest.raises(HotUnavailable):
        asyncio.run(run())
