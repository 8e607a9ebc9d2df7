"""Hot copies on a real Valkey: only of final jobs, never of an old generation, and worth no wait."""

import time

import msgspec
import pytest

from inference.errors import HotUnavailable
from inference.ids import new_id
from inference.jobs.model import End, JobState, JobView, ResultRef
from inference.redisio.client import DONE_CHANNEL, RedisLink
from inference.redisio.hot import MOST_CARRIED, RedisHotResults, read_news
from inference.settings import RedisSettings, ResultsSettings, Settings


def hot_at(url: str, ttl_s: float = 60.0) -> RedisHotResults:
    settings = Settings(redis_url=url, redis=RedisSettings(breaker_s=0.01))
    return RedisHotResults(RedisLink(settings, timeout_s=1.0), ResultsSettings(hot_ttl_s=ttl_s))


def a_view(**changes) -> JobView:  # type: ignore[no-untyped-def]
    plain = JobView(
        id=new_id(),
        service_id=new_id(),
        state=JobState.COMPLETED,
        priority=3,
        attempts=1,
        created_at=1.0,
        completed_at=time.time(),
        result=b'{"y":[1.0]}',
    )
    return msgspec.structs.replace(plain, **changes)


def test_a_copy_is_read_by_its_own_tenant_only(redis_url):
    hot, view = hot_at(redis_url), a_view(generation=4)

    hot.put("a", view.service_id, [view])

    assert hot.get("a", view.id) == view
    assert hot.get("b", view.id) is None
    assert hot.get_many("a", [view.id, "0" * 32]) == {view.id: view}
    assert hot.get_many("b", [view.id]) == {}


def test_a_copy_and_its_news_carry_the_reference_to_a_large_result(redis_url, news):
    ref = ResultRef(sha256="ab" * 32, size_bytes=30_000_000)
    hot, view = hot_at(redis_url), a_view(result=None, result_ref=ref)

    hot.put("a", view.service_id, [view])

    assert hot.get("a", view.id) == view
    assert news() == [End(tenant_id="a", view=view)]


def test_a_forgotten_copy_is_not_read_and_a_late_one_is_not_kept(redis_url):
    hot, old = hot_at(redis_url), a_view()
    hot.put("a", old.service_id, [old])

    hot.forget(old.id, age_s=1.0)
    forgotten = hot.get("a", old.id)
    hot.put("a", old.service_id, [old])

    assert forgotten is None
    assert hot.get("a", old.id) is None, "a put of the old generation that came late"


@pytest.fixture
def news(redis_url):
    """What the channel of ends carried since the last look."""
    link = RedisLink(Settings(redis_url=redis_url))
    channel = link.client.pubsub(ignore_subscribe_messages=True)
    channel.subscribe(DONE_CHANNEL)
    channel.get_message(timeout=1)
    yield lambda: read_news(channel.get_message(timeout=1)["data"])
    channel.close()
    link.close()


def test_news_of_few_ends_carry_them(redis_url, news):
    hot, views = hot_at(redis_url), [a_view() for _ in range(MOST_CARRIED)]

    hot.put("a", "s", views)

    assert news() == [End(tenant_id="a", view=view) for view in views]
    assert hot.get_many("a", [view.id for view in views]) == {view.id: view for view in views}


@pytest.mark.parametrize("views", [[a_view() for _ in range(MOST_CARRIED + 1)], [a_view(result=b"1" * 20_000)]])
def test_news_of_many_or_large_ends_name_them(redis_url, news, views):
    hot = hot_at(redis_url)

    hot.put("a", "s", views)

    assert news() == [view.id for view in views]


def test_news_do_not_carry_an_end_that_was_taken_back(redis_url, news):
    hot, old, other = hot_at(redis_url), a_view(), a_view()
    hot.forget(old.id, age_s=1.0)
    taken_back = news()

    hot.put("a", "s", [old, other])

    assert taken_back == [old.id], "whoever heard of it looks again"
    assert news() == [old.id, other.id]
    assert hot.get("a", other.id) == other


def test_news_are_told_where_there_is_no_room_for_copies(redis_url, news):
    link = RedisLink(Settings(redis_url=redis_url))
    link.client.config_set("maxmemory-policy", "noeviction")
    link.client.config_set("maxmemory", 1)
    view = a_view()
    try:
        hot_at(redis_url).put("a", "s", [view])
    finally:
        link.client.config_set("maxmemory", 0)
        link.client.config_set("maxmemory-policy", "volatile-ttl")
        link.close()

    assert news() == [view.id]


def test_a_tombstone_lives_no_longer_than_a_copy(redis_url):
    hot, view = hot_at(redis_url, ttl_s=0.2), a_view()
    hot.forget(view.id, age_s=1.0)

    for _ in range(200):
        newer = msgspec.structs.replace(view, generation=2, completed_at=time.time())
        hot.put("a", view.service_id, [newer])
        if (found := hot.get("a", view.id)) is not None:
            break
        time.sleep(0.01)

    assert found == newer


def test_what_ended_longer_ago_than_copies_live_comes_too_late_for_one(redis_url):
    """A worker stood still between its commit and this; the tombstone of a retry may be gone already."""
    hot, old = hot_at(redis_url), a_view(completed_at=time.time() - 61)

    hot.put("a", old.service_id, [old])

    assert hot.get("a", old.id) is None


def test_with_redis_away_only_what_may_still_have_a_copy_is_refused(own_valkey):
    hot = hot_at(own_valkey.url)
    own_valkey.stop()

    hot.forget(new_id(), age_s=61.0)

    with pytest.raises(HotUnavailable):
        hot.forget(new_id(), age_s=59.0)
