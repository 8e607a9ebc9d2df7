"""Threads of duties: what ends them, what does not, and what they say of it."""

import threading
from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs

from inference.errors import StoreUnavailable
from workers.duty import DutyThread

FAR_S = 3_600.0


class Counting(DutyThread):
    """Goes wrong as told; `done` is set by each turn."""

    def __init__(self) -> None:
        super().__init__("counting")
        self.wrong: list[Exception | None] = []
        self.done = threading.Event()

    def turn(self) -> float:
        self.do("count", self._work)
        self.done.set()
        return FAR_S

    def _work(self) -> None:
        if self.wrong and (error := self.wrong.pop(0)) is not None:
            raise error


@pytest.fixture
def duty() -> Iterator[Counting]:
    duty = Counting()
    yield duty
    duty.stop()


def test_a_bad_turn_does_not_end_those_after_it(duty: Counting):
    duty.wrong = [RuntimeError("unforeseen"), StoreUnavailable("away", part="sql")]
    duty.start()

    turned = []
    for _ in range(3):
        turned.append(duty.done.wait(5))
        duty.done.clear()
        duty.wake()

    assert turned == [True] * 3
    assert duty.wrong == []


def test_a_stop_does_not_wait_for_the_next_turn(duty: Counting):
    duty.start()
    duty.done.wait(5)

    duty.stop()

    assert not duty._thread.is_alive()


def test_an_outage_is_told_once_and_so_is_its_end(duty: Counting):
    away = StoreUnavailable("away", part="sql")
    duty.wrong = [away, away, None, None, away]

    with capture_logs() as logs:
        for _ in range(5):
            duty.turn()

    assert [entry["event"] for entry in logs] == ["duty_failed", "duty_back", "duty_failed"]


def test_what_is_away_is_told_apart_from_what_went_wrong(duty: Counting):
    duty.wrong = [StoreUnavailable("away", part="sql"), RuntimeError("unforeseen")]

    with capture_logs() as logs:
        was_there = [duty.do("count", duty._work) for _ in range(2)]

    assert was_there == [False, True]
    assert [entry["log_level"] for entry in logs] == ["warning", "error"]
