"""Doorbells through a real broker: what is published is what a Celery worker takes."""

import time

import pytest
from celery import Celery
from kombu.exceptions import OperationalError

from inference.redisio.client import WAKE_KEY, RedisLink
from inference.redisio.slots import Slots
from inference.settings import Settings
from tests.services import wait_for
from workers import publisher
from workers.config import celery_config
from workers.queues import CONTROL_QUEUE, DRAIN_TASK, RECONCILE_TASK, service_queue


@pytest.fixture(params=["valkey", "rabbitmq"])
def broker_url(request):
    return request.getfixturevalue("redis_url" if request.param == "valkey" else "rabbitmq_url")


def take(settings, queue, *, count, seconds=5):
    """The task messages that lie in a queue, read as Celery reads them."""
    app = Celery("reader")
    app.conf.update(celery_config(settings))
    found = []
    with app.connection_for_read() as connection:
        simple = connection.SimpleQueue(queue)
        until = time.monotonic() + seconds
        while len(found) < count and time.monotonic() < until:
            try:
                message = simple.get(timeout=0.2)
            except simple.Empty:
                continue
            message.ack()
            found.append((message.headers["task"], message.payload[0]))
        simple.close()
    app.close()
    return found


def test_a_ring_puts_one_doorbell_with_slot_and_token_into_the_services_queue(broker_url, redis_url):
    settings = Settings(redis_url=redis_url, broker_url=broker_url)
    connected = publisher.connect(settings)

    connected.bell.ring("ring-once", slots=1)
    wait_for(lambda: not connected.bell._rings, timeout_s=5, what="the ring is sent")
    connected.bell.ring("ring-once", slots=1)
    found = take(settings, service_queue("ring-once"), count=2, seconds=1.5)
    connected.close()

    assert [task for task, _ in found] == [DRAIN_TASK]
    service_id, slot, token = found[0][1]
    assert (service_id, slot, len(token)) == ("ring-once", 0, 16)


def test_rings_for_services_at_rest_call_who_can_wake_them_once_for_many(broker_url, redis_url):
    settings = Settings(redis_url=redis_url, broker_url=broker_url)
    connected = publisher.connect(settings)

    for number in range(20):
        connected.bell.ring(f"rests-{number}", slots=0)
    called = take(settings, CONTROL_QUEUE, count=2, seconds=1.0)
    rung = take(settings, service_queue("rests-0"), count=1, seconds=0.3)
    connected.close()

    assert (called, rung) == ([(RECONCILE_TASK, [])], [])


@pytest.fixture
def link(redis_url):
    opened = RedisLink(Settings(redis_url=redis_url))
    yield opened
    opened.close()


def is_woken(link, service_id):
    return link.client.llen(WAKE_KEY + service_id) == 1


def test_a_drain_is_woken_by_the_thread_that_rings_and_needs_no_other(redis_url, link):
    connected = publisher.connect(Settings(redis_url=redis_url, broker_url=redis_url))
    connected.bell.ring("at-once", slots=1)
    wait_for(lambda: connected.bell._ringing._connection is not None, timeout_s=5, what="a connection to ring by")

    time.sleep(publisher.PAUSE_S)
    connected.bell._start = lambda: None
    connected.bell.ring("at-once", slots=1)

    wait_for(lambda: is_woken(link, "at-once"), timeout_s=5, what="a wake token")
    del connected.bell._start
    connected.close()


def test_an_early_ring_wakes_a_drain_at_once_and_its_doorbell_is_sent_when_it_is_heeded(redis_url, link):
    settings = Settings(redis_url=redis_url, broker_url=redis_url)
    connected = publisher.connect(settings)
    is_connected = connected.bell.ring_early("early", slots=1)
    connected.bell.ring("early-before", slots=1)
    wait_for(lambda: connected.bell._ringing._connection is not None, timeout_s=5, what="a connection to ring by")

    time.sleep(publisher.PAUSE_S)
    is_rung = connected.bell.ring_early("early", slots=1)
    before = take(settings, service_queue("early"), count=1, seconds=0.3)
    connected.bell.heed()
    after = take(settings, service_queue("early"), count=1)
    time.sleep(publisher.PAUSE_S)
    is_rung_again = connected.bell.ring_early("early", slots=1)

    assert (is_connected, is_rung, is_rung_again) == (False, True, True)
    assert (before, [task for task, _ in after]) == ([], [DRAIN_TASK])
    wait_for(lambda: is_woken(link, "early"), timeout_s=5, what="a wake token")
    connected.close()


def test_a_ring_on_a_connection_that_was_cut_is_rung_again(redis_url, link):
    connected = publisher.connect(Settings(redis_url=redis_url, broker_url=redis_url))
    connected.bell.ring("cut", slots=1)
    wait_for(lambda: connected.bell._ringing._connection is not None, timeout_s=5, what="a connection to ring by")

    link.client.client_kill_filter(_type="normal", skipme=True)
    connected.bell.ring("cut", slots=1)

    wait_for(lambda: is_woken(link, "cut"), timeout_s=5, what="a wake token")
    connected.close()


def test_rings_that_come_together_are_one(redis_url, link, monkeypatch):
    monkeypatch.setattr(publisher, "PAUSE_S", 1.0)
    connected = publisher.connect(Settings(redis_url=redis_url, broker_url=redis_url))
    connected.bell.ring("often", slots=1)
    wait_for(lambda: connected.bell._ringing._connection is not None, timeout_s=5, what="a connection to ring by")
    asked = []
    send, connected.bell._ringing.send = connected.bell._ringing.send, lambda *ring: asked.append(ring) or send(*ring)

    for _ in range(1000):
        connected.bell.ring("often", slots=1)
    wait_for(lambda: is_woken(link, "often"), timeout_s=5, what="a wake token")
    connected.close()

    assert len(asked) <= 2


def test_a_kick_reaches_the_control_queue(broker_url, redis_url):
    settings = Settings(redis_url=redis_url, broker_url=broker_url)
    connected = publisher.connect(settings)

    connected.kick.reconcile()
    found = take(settings, "control", count=1)
    connected.close()

    assert found == [(RECONCILE_TASK, [])]


def test_ringing_never_waits_and_never_raises_while_the_broker_is_away():
    settings = Settings(redis_url="redis://127.0.0.1:1/0", broker_url="redis://127.0.0.1:1/0")
    connected = publisher.connect(settings)

    for _ in range(1000):
        connected.bell.ring("nobody", slots=1)
        connected.kick.reconcile()

    connected.close()
    assert not connected.bell._thread.is_alive()


def test_a_slot_whose_doorbell_could_not_be_sent_is_free_again(redis_url):
    settings = Settings(redis_url=redis_url, broker_url="amqp://127.0.0.1:1//")
    slots = Slots(RedisLink(settings))
    connected = publisher.connect(settings)

    with pytest.raises(OperationalError):
        connected.bell._deliver({"unheard": 1}, kicks=False)
    connected.close()

    assert slots.ring_or_wake("unheard", slots=1, token="next") == 0
