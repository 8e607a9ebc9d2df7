"""Many small commands as bytes, in one write: redis-py's own pipeline takes 10 us for each."""

import os
import select
from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

import redis

_spare: "WeakKeyDictionary[redis.ConnectionPool, list[redis.Connection]]" = WeakKeyDictionary()
"""Connections that no call uses now, by the pool that made them: to take one from there costs more than a command."""


def command(*words: bytes) -> bytes:
    """A command as Redis reads it (RESP)."""
    return b"*%d\r\n" % len(words) + b"".join([b"$%d\r\n%b\r\n" % (len(word), word) for word in words])


def send(client: redis.Redis, commands: Sequence[bytes]) -> list[Any]:
    """Their answers, in order; an answer that is an error is among them as redis-py's exception, and stops nothing.

    Raises what redis-py raises when the connection fails.
    """
    spare = _spare.setdefault(client.connection_pool, [])
    connection = _taken(spare) or _made(client.connection_pool)
    try:
        connection.send_packed_command([b"".join(commands)], check_health=False)  # type: ignore[no-untyped-call]
        answers = [_answer(connection) for _ in commands]
    except BaseException:
        # Answers of ours may still come on it.
        connection.disconnect()  # type: ignore[no-untyped-call]  # the library's gap
        raise
    spare.append(connection)
    return answers


def _taken(spare: "list[redis.Connection]") -> "redis.Connection | None":
    """One that nobody else uses, that this process made and Redis did not end meanwhile."""
    while spare:
        try:
            connection = spare.pop()
        except IndexError:  # another thread was quicker
            break
        if connection.pid == os.getpid() and _is_quiet(connection):
            return connection
        connection.disconnect()  # type: ignore[no-untyped-call]  # the library's gap
    return None


def _made(pool: redis.ConnectionPool) -> "redis.Connection":
    connection: redis.Connection = pool.make_connection()  # type: ignore[assignment]  # synchronous, as its client is
    connection.connect()  # type: ignore[no-untyped-call]  # the library's gap
    return connection


def _is_quiet(connection: "redis.Connection") -> bool:
    """Whether nothing came: neither an end nor what belongs to no command. Under TLS only the library can tell."""
    socket = getattr(connection, "_sock", None)  # there is no other way to it
    if socket is None or isinstance(connection, redis.SSLConnection):
        return socket is not None and not connection.can_read()
    poll = select.poll()
    poll.register(socket, select.POLLIN)
    return not poll.poll(0)


def _answer(connection: "redis.Connection") -> object:
    try:
        return connection.read_response()
    except redis.ResponseError as error:
        return error
