"""What engines report, on a real Valkey: forgotten in time, and worth no error."""

import time

import redis

from inference.ids import new_id
from inference.jobs.progress import Progress
from inference.redisio.client import PROGRESS_KEY, RedisLink
from inference.redisio.progress import RedisProgress
from inference.settings import RedisSettings, Settings
from tests.services import wait_for


def board_at(url: str) -> RedisProgress:
    return RedisProgress(RedisLink(Settings(redis_url=url, redis=RedisSettings(breaker_s=0.01)), timeout_s=1.0))


def report(fraction: float, message: str = "") -> Progress:
    return Progress(generation=2, attempt=3, fraction=fraction, message=message, updated_at=time.time())


def test_the_newest_report_of_each_job_is_read_as_it_was_put(redis_url):
    board, one, other = board_at(redis_url), new_id(), new_id()

    board.put({one: report(0.1), other: report(0.2, "第二步")}, ttl_s=60)
    newest = report(0.3)
    board.put({one: newest}, ttl_s=60)
    found = board.get([one, other, new_id()])

    assert found[one] == newest
    assert (found[other].fraction, found[other].message) == (0.2, "第二步")
    assert set(found) == {one, other}


def test_a_report_is_forgotten_after_its_time_and_when_it_is_removed(redis_url):
    board, brief, removed = board_at(redis_url), new_id(), new_id()

    board.put({brief: report(0.1)}, ttl_s=0.05)
    board.put({removed: report(0.1)}, ttl_s=60)
    board.remove([removed])

    assert removed not in board.get([removed])
    wait_for(lambda: not board.get([brief]), timeout_s=5, what="forgotten")


def test_what_nobody_of_ours_wrote_counts_as_no_report(redis_url):
    board, job_id = board_at(redis_url), new_id()
    redis.Redis.from_url(redis_url).set(PROGRESS_KEY + job_id, b"nonsense", ex=5)

    assert board.get([job_id]) == {}


def test_without_redis_there_are_no_reports_and_no_errors():
    board = board_at("redis://127.0.0.1:1/0")

    board.put({"a": report(0.1)}, ttl_s=60)
    board.remove(["a"])

    assert board.get(["a"]) == {}
