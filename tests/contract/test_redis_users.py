"""Each user of Redis against the real server: what it needs works, what it has no business with is refused."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import redis
from kombu import Connection, Exchange, Queue

from inference.jobs.express_model import Told
from inference.jobs.model import JobState, JobView
from inference.jobs.progress import Progress
from inference.redisio.client import RedisLink
from inference.redisio.counts import RedisCounts
from inference.redisio.express import RedisExpress
from inference.redisio.express_asker import Asker
from inference.redisio.hot import RedisHotResults
from inference.redisio.progress import RedisProgress
from inference.redisio.slots import Slots, Wake
from inference.settings import ResultsSettings, Settings
from tests.conftest import start
from tests.contract import test_express as predictions
from tests.fakes import Silent
from tests.guarded import GuardedValkey
from workers import publisher
from workers.config import celery_config
from workers.queues import CONTROL_QUEUE, service_queue

VIEW = JobView(
    id="j",
    service_id="s",
    state=JobState.COMPLETED,
    priority=0,
    attempts=1,
    created_at=0.0,
    completed_at=time.time() + 3600,
)


@pytest.fixture(scope="module")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuardedValkey]:
    server = start(GuardedValkey, Path(tmp_path_factory.mktemp("guarded")))
    yield server
    server.stop()


@pytest.fixture(autouse=True)
def _nothing_denied_yet(valkey: GuardedValkey) -> None:
    admin = valkey.admin()
    admin.flushall()
    admin.close()
    valkey.denied()


def settings_of(valkey: GuardedValkey, user: str) -> Settings:
    return Settings(redis_url=valkey.url_of(user), broker_url=valkey.url_of(user))


def connection(valkey: GuardedValkey, user: str, **options: Any) -> Connection:
    """As a worker's, or Flower's, with our configuration."""
    config = celery_config(settings_of(valkey, user))
    return Connection(config["broker_url"], transport_options=config["broker_transport_options"] | options)


def listen(opened: Connection) -> None:
    """Takes what comes, the answers to subscribing first, until nothing more comes."""
    with suppress(TimeoutError):
        while True:
            opened.drain_events(timeout=0.2)


REFUSED = {
    "api": [
        "FLUSHALL", "CONFIG GET *", "KEYS *", "SHUTDOWN", "ACL LIST", "ACL WHOAMI", "CLIENT LIST",
        "EVAL x 0", "EVALSHA 0 1 unacked", "SCRIPT FLUSH", "MONITOR", "RPOP svc.a", "BRPOP svc.a 1", "LRANGE svc.a 0 9",
        "DEL svc.a", "HGETALL unacked", "SUBSCRIBE /0.celery.pidbox", "PUBLISH /0.celery.pidbox x", "PSUBSCRIBE *",
        "GET celery-task-meta-a", "HSET pst:result:a x y", "SADD _kombu.binding.celery.pidbox x", "SET other x",
        "DEL pst:wrong:a", "ZRANGE pst:express:a 0 9", "PUBLISH pst:told:a x", "GET pst:express:held:a",
        "SET pst:progress:a x",
    ],
    "worker": [
        "FLUSHDB", "CONFIG SET dir /tmp", "KEYS *", "SHUTDOWN", "ACL LIST", "CLIENT KILL TYPE normal",
        "EVAL x 0", "SCRIPT FLUSH", "MONITOR", "GET pst:wrong:a", "INCR pst:wrong:a", "GET pst:rate:a",
        "SET pst:rate:a 0", "GET pst:result:a", "PUBLISH /0.celery.pidbox x", "PSUBSCRIBE *",
        "PSUBSCRIBE /0.celeryev/*", "SUBSCRIBE pst:done", "SET other x", "REPLICAOF 127.0.0.1 1",
        "ZADD pst:express:a 1 x", "SUBSCRIBE pst:told:a", "GET pst:progress:a",
    ],
    "monitor": [
        "FLUSHALL", "CONFIG GET *", "KEYS *", "SHUTDOWN", "ACL LIST", "EVAL x 0", "MONITOR",
        "GET pst:result:a", "GET pst:wrong:a", "HGETALL pst:slots:a", "LPUSH svc.a x", "RPOP svc.a", "LRANGE svc.a 0 9",
        "LPUSH control x", "HGETALL unacked", "PUBLISH pst:done x", "PUBLISH /0.celeryev/x x", "SUBSCRIBE pst:done",
        "PSUBSCRIBE /0.celery.pidbox", "SET other x",
    ],
}  # fmt: skip


@pytest.mark.parametrize(("user", "command"), [(user, command) for user in REFUSED for command in REFUSED[user]])
def test_a_user_is_refused_what_it_has_no_business_with(valkey: GuardedValkey, user: str, command: str) -> None:
    client = valkey.client(user)

    with pytest.raises(redis.exceptions.NoPermissionError):
        client.execute_command(*command.split())

    client.close()


@pytest.mark.parametrize("login", [{}, {"username": "api", "password": "a guess"}, {"password": "the-api-password"}])
def test_nobody_comes_in_without_a_user_and_its_password(valkey: GuardedValkey, login: dict[str, str]) -> None:
    client = redis.Redis(port=valkey.port, **login)

    with pytest.raises(redis.exceptions.AuthenticationError):
        client.ping()

    client.close()


def test_the_api_rings_and_kicks_keeps_hot_copies_and_counts_callers(valkey: GuardedValkey) -> None:
    link = RedisLink(settings_of(valkey, "api"))
    hot = RedisHotResults(link, ResultsSettings())
    told = publisher.connect(settings_of(valkey, "api"))

    told.bell.ring("a", slots=2)
    told.kick.reconcile()
    told.close()
    hot.put("t", "s", [VIEW])
    found = hot.get("t", "j")
    counts = RedisCounts(link)
    counted = [
        counts.add({"k": 3, "l": 1}, keep_s=60),
        counts.strike("1", window_s=60)[0],
        counts.has("k"),
        counts.has("m"),
    ]
    news = link.client.pubsub()
    news.subscribe("pst:done")
    news.get_message(timeout=1)
    news.unsubscribe()
    news.close()
    link.close()

    admin = valkey.admin()
    assert (admin.llen(service_queue("a")), admin.llen(CONTROL_QUEUE)) == (1, 1)
    admin.close()
    assert found is not None
    assert counted == [{"k": 3, "l": 1}, 1, True, False]
    assert valkey.denied() == []


def test_a_worker_takes_answers_gives_back_and_restores_what_others_left(valkey: GuardedValkey) -> None:
    queue = Queue(service_queue("a"), exchange=service_queue("a"), routing_key=service_queue("a"))
    pidbox = Queue("w@h.celery.pidbox", exchange=Exchange("celery.pidbox", type="fanout"), expires=10, auto_delete=True)
    with connection(valkey, "worker", visibility_timeout=0) as opened:
        channel = opened.channel()
        opened.Producer(channel).publish({"n": 1}, exchange="", routing_key=queue.name, declare=[queue], priority=3)
        first = queue.bind(channel).get(no_ack=False)
        first.reject(requeue=True)
        queue.bind(channel).get(no_ack=False)
        channel.qos.restore_visible(num=10, interval=1)
        third = queue.bind(channel).get(no_ack=False)
        third.ack()
        with opened.Consumer([queue, pidbox], channel=channel, callbacks=[lambda *_: None]):
            listen(opened)
            channel.sweep_bindings()

    assert third.payload == {"n": 1}
    assert valkey.denied() == []


def test_a_worker_holds_slots_and_announces_results(valkey: GuardedValkey) -> None:
    link = RedisLink(settings_of(valkey, "worker"))
    slots, hot = Slots(link), RedisHotResults(link, ResultsSettings())

    slot = slots.ring_or_wake("a", slots=1, token="t")
    slots.ring_or_wake("a", slots=1, token="u")
    kept = slots.renew("a", slot=slot or 0, token="t")
    woken = slots.wait("a", timeout_s=1)
    over = slots.release_if_no_wake("a", slot=slot or 0, token="t")
    hot.put("t", "s", [VIEW])
    link.close()

    assert (slot, kept, woken, over) == (0, True, Wake.JOBS, True)
    assert valkey.denied() == []


def test_a_worker_says_how_far_jobs_are_and_the_api_reads_it(valkey: GuardedValkey) -> None:
    worker, api = (RedisLink(settings_of(valkey, user)) for user in ("worker", "api"))
    report = Progress(generation=1, attempt=1, fraction=0.5, message="", updated_at=1.0)

    RedisProgress(worker).put({"a": report, "b": report}, ttl_s=5)
    RedisProgress(worker).remove(["b"])
    found = RedisProgress(api).get(["a", "b"])
    worker.close()
    api.close()

    assert found == {"a": report}
    assert valkey.denied() == []


def test_the_monitor_asks_workers_hears_events_and_counts_what_waits(valkey: GuardedValkey) -> None:
    reply = Queue("o.reply.celery.pidbox", exchange=Exchange("reply.celery.pidbox"), routing_key="o", expires=10)
    events = Queue("celeryev.x", exchange=Exchange("celeryev", type="fanout"), routing_key="#", auto_delete=True)
    with connection(valkey, "monitor", ack_emulation=False) as opened:
        channel = opened.channel()
        fanout = Exchange("celery.pidbox", type="fanout", durable=False)
        opened.Producer(channel).publish({"method": "ping"}, exchange=fanout, declare=[fanout])
        with opened.Consumer([reply, events], channel=channel, no_ack=True, callbacks=[lambda *_: None]):
            listen(opened)
            channel.sweep_bindings()
        waiting = valkey.client("monitor").llen("svc.a")

    assert waiting == 0
    assert valkey.denied() == []


def test_a_prediction_is_asked_taken_and_answered_by_users_who_may_no_more(valkey: GuardedValkey) -> None:
    link = RedisLink(settings_of(valkey, "worker"))
    lane, slots = RedisExpress(link), Slots(link)
    prediction, leaving = (predictions.asked() for _ in range(2))

    async def run() -> tuple[Told | None, Told | None]:
        asker = Asker(settings_of(valkey, "api"), Silent())
        left = await asker.ask(leaving, wait_s=0.1)
        asking = asyncio.create_task(asker.ask(prediction, wait_s=10))
        while not (taken := await asyncio.to_thread(predictions.take, lane)).jobs:
            await asyncio.sleep(0.01)
        told = {job.asker: [Told(id=job.id, result=b"{}")] for job in taken.jobs}
        await asyncio.to_thread(predictions.take, lane, told=told)
        found = await asking
        await asker.close()
        return left, found

    left, told = asyncio.run(run())
    lost, waiting = lane.lost("i:0"), lane.waiting(predictions.SERVICE)
    woken = slots.wait(predictions.SERVICE, timeout_s=0.1)
    link.close()

    assert left is None
    assert told is not None
    assert (told.id, told.result) == (prediction.id, b"{}")
    assert (lost, waiting, woken) == (1, 0, None)
    assert valkey.denied() == []
