"""The load generator counts what it says it counts."""

import pytest

from benchmarks.load.__main__ import digest
from benchmarks.load.loops import arrivals
from benchmarks.load.wire import Wire
from benchmarks.percentiles import quantiles_ms


class Script:
    """A socket that gives prepared pieces."""

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = list(pieces)

    def recv(self, _: int) -> bytes:
        return self._pieces.pop(0)


def wire_that_gets(*pieces: bytes, monkeypatch: pytest.MonkeyPatch) -> Wire:
    monkeypatch.setattr(Wire, "_connect", lambda self: self._forget())
    wire = Wire("nowhere", 1)
    wire.socket = Script(*pieces)  # type: ignore[assignment]  # the only call is recv
    return wire


def test_an_answer_in_pieces_is_given_once_whole(monkeypatch):
    head = b"HTTP/1.1 202 Accepted\r\nContent-Length: 5\r\n\r\n"
    wire = wire_that_gets(head[:20], head[20:] + b"he", b"llo", monkeypatch=monkeypatch)

    seen = [wire.receive(), wire.receive(), wire.receive()]

    assert seen[:2] == [None, None]
    assert (seen[2].status, seen[2].body) == (202, b"hello")


def test_a_chunked_answer_is_joined(monkeypatch):
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    wire = wire_that_gets(head + b"3\r\nabc\r\n", b"2\r\nde\r\n0\r\n\r\n", monkeypatch=monkeypatch)

    seen = [wire.receive(), wire.receive()]

    assert seen[0] is None
    assert (seen[1].body, wire.is_closing) == (b"abcde", True)


def test_a_broken_connection_counts_as_status_zero(monkeypatch):
    wire = wire_that_gets(b"", monkeypatch=monkeypatch)

    answer = wire.receive()

    assert (answer.status, wire.is_closing) == (0, True)


def test_arrivals_come_at_the_rate_asked_for_and_repeat_with_the_seed():
    times = arrivals(1000.0, 2.0, seed=3)

    assert times == arrivals(1000.0, 2.0, seed=3)
    assert 1800 < len(times) < 2200
    assert times == sorted(times)


def test_percentiles_are_in_milliseconds():
    seconds = [number / 1000 for number in range(1, 101)]

    assert quantiles_ms(seconds) == {"p50": 51.0, "p95": 96.0, "p99": 100.0, "max": 100.0}


def test_the_mean_batch_counts_engine_calls_not_jobs():
    job = b'{"status":"completed","batch_size":%d,"latency":0.01,"completed_at":"2026-01-01T00:00:00.000000Z"}'

    seen = digest([job % 4] * 8 + [job % 1] * 2)

    assert seen["jobs_by_batch_size"] == {"1": 2, "4": 8}
    assert (seen["batch_mean"], seen["batch_max"]) == (2.5, 4)
