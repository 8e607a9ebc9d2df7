"""Commands sent as bytes: each gets its own answer, and a broken connection is not used again."""

import pytest
import redis

from inference.redisio.raw import command, send


@pytest.fixture
def client(redis_url: str) -> redis.Redis:
    return redis.Redis.from_url(redis_url, socket_timeout=1.0)


def test_a_command_that_is_refused_keeps_no_other_from_its_answer(client: redis.Redis):
    commands = [
        command(b"SET", b"key", b"a\r\nvalue"),
        command(b"LPUSH", b"key", b"1"),
        command(b"SET", b"key", b"other", b"NX"),
        command(b"GET", b"key"),
        command(b"PUBLISH", b"channel", b"news"),
    ]

    done, refused, missing, value, heard = send(client, commands)

    assert isinstance(refused, redis.ResponseError)
    assert (done, missing, value, heard) == (b"OK", None, b"a\r\nvalue", 0)


def test_late_answers_are_not_taken_for_those_of_the_next_call(client: redis.Redis):
    slow = command(b"BLPOP", b"nothing", b"1.5")

    with pytest.raises(redis.TimeoutError):
        send(client, [slow])
    after = send(client, [command(b"PING")])

    assert after == [b"PONG"]


def test_a_connection_is_used_again_until_redis_ends_it(client: redis.Redis):
    who = [command(b"CLIENT", b"ID")]
    (first,) = send(client, who)
    (again,) = send(client, who)

    client.client_kill_filter(_id=str(first), skipme=True)
    (after,) = send(client, who)

    assert first == again != after
