"""The news of finished jobs on a real Valkey: heard in order, and after every interruption again."""

import asyncio
import time

import pytest

from inference.ids import new_id
from inference.jobs.model import End, JobState, JobView
from inference.redisio import news
from inference.redisio.client import DONE_CHANNEL, RedisLink
from inference.redisio.hot import RedisHotResults
from inference.settings import RedisSettings, ResultsSettings, Settings


@pytest.fixture
def link(redis_url):
    opened = RedisLink(Settings(redis_url=redis_url))
    yield opened
    opened.close()


def a_view(size: int = 10) -> JobView:
    now = time.time()
    plain = {"service_id": "s", "state": JobState.COMPLETED, "priority": 0, "attempts": 1}
    return JobView(id=new_id(), created_at=now, completed_at=now, result=b"1" * size, **plain)


def listening(redis_url, scenario):
    """Runs `scenario(heard)` beside a listener; `heard` gives what comes next, None where it became deaf."""

    async def run():
        queue = asyncio.Queue()
        settings = Settings(redis_url=redis_url, redis=RedisSettings(connect_timeout_s=0.5))
        listener = asyncio.ensure_future(news.listen(settings, queue.put_nowait))
        try:
            return await scenario(lambda: asyncio.wait_for(queue.get(), 5))
        finally:
            listener.cancel()

    return asyncio.run(run())


def test_ends_and_ids_are_heard_in_the_order_of_their_news(redis_url, link):
    hot, small, large = RedisHotResults(link, ResultsSettings()), a_view(), a_view(100_000)
    many = [a_view() for _ in range(2_000)]

    async def scenario(heard):
        began = await heard()
        for views in ([small], [large], many):
            await asyncio.to_thread(hot.put, "t", "s", views)
        return began, [await heard() for _ in range(3)]

    told = listening(redis_url, scenario)

    assert told == ([], [[End(tenant_id="t", view=small)], [large.id], [view.id for view in many]])


def test_who_listens_is_told_of_an_interruption_and_hears_again_after_it(redis_url, link, monkeypatch):
    monkeypatch.setattr(news, "AGAIN_S", 0.01)
    view = a_view()

    async def scenario(heard):
        began = await heard()
        link.client.client_kill_filter(_type="pubsub")
        interrupted, resumed = await heard(), await heard()
        RedisHotResults(link, ResultsSettings()).put("t", "s", [view])
        return began, interrupted, resumed, await heard()

    assert listening(redis_url, scenario) == ([], None, [], [End(tenant_id="t", view=view)])


def test_a_redis_that_answers_nothing_is_not_listened_to_any_longer(redis_url, link, monkeypatch):
    monkeypatch.setattr(news, "PING_S", 0.1)
    monkeypatch.setattr(news, "AGAIN_S", 0.01)

    async def scenario(heard):
        await heard()
        await asyncio.sleep(0.5)  # some answers to PING
        link.client.client_pause(1_000, all=True)
        return await heard()

    assert listening(redis_url, scenario) is None


def test_what_is_no_news_ends_the_connection_and_nothing_else(redis_url, link, monkeypatch):
    monkeypatch.setattr(news, "AGAIN_S", 0.01)

    async def scenario(heard):
        began = await heard()
        link.client.publish(DONE_CHANNEL, b"\xff\xff")
        return began, await heard(), await heard()

    assert listening(redis_url, scenario) == ([], None, [])
