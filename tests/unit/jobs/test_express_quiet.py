"""Jobs alone do without a look at an empty express lane; whoever was woken for predictions always looks."""

from types import SimpleNamespace
from typing import Any

import pytest

from inference.jobs import express_side
from inference.jobs.express_model import Taken
from inference.jobs.express_side import ExpressSide
from inference.jobs.model import Claimant

BY = Claimant(service_id="s", instance_id="i", generation=1, worker="w", model_version="1.0.0")


class Lane:
    """Counts the looks; `left` wait and are of another shape each time."""

    def __init__(self, left: int = 0) -> None:
        self.looks, self.left = 0, left

    def exchange(self, *_: Any, max_rows: int, **__: Any) -> Taken:
        self.looks += 1
        return Taken(left=self.left if not max_rows else 0)


def a_side(lane: Lane) -> ExpressSide:
    ports: Any = SimpleNamespace(express=lane, store=SimpleNamespace(now_s=lambda: 0.0), figures=None, traces=None)
    return ExpressSide(ports, BY)


@pytest.mark.parametrize(("may_wait", "looks"), [(True, 1), (False, 2)])
def test_a_lane_that_was_empty_just_now_is_not_looked_at_between_jobs(monkeypatch, may_wait, looks):
    monkeypatch.setattr(express_side, "QUIET_S", 60.0)
    lane = Lane()
    side = a_side(lane)

    side.take(8)
    side.take(8, may_wait=may_wait)

    assert lane.looks == looks


def test_after_a_while_it_is_looked_at_again(monkeypatch):
    monkeypatch.setattr(express_side, "QUIET_S", 0.0)
    lane = Lane()
    side = a_side(lane)

    side.take(8, may_wait=True)
    side.take(8, may_wait=True)

    assert lane.looks == 2


def test_a_lane_in_which_something_waits_is_looked_at_each_time(monkeypatch):
    monkeypatch.setattr(express_side, "QUIET_S", 60.0)
    lane = Lane(left=1)
    side = a_side(lane)

    side.take(0)
    side.take(8, may_wait=True)

    assert lane.looks == 2


def test_who_was_woken_for_jobs_alone_runs_the_first_of_them_without_a_look(monkeypatch):
    monkeypatch.setattr(express_side, "QUIET_S", 60.0)
    lane = Lane()
    side = a_side(lane)

    side.heard_of_none()
    side.take(8, may_wait=True)

    assert lane.looks == 0


def test_who_was_woken_for_jobs_looks_all_the_same_while_predictions_crowd(monkeypatch):
    monkeypatch.setattr(express_side, "QUIET_S", 60.0)
    lane = Lane()
    side = a_side(lane)
    side.is_crowded = True

    side.heard_of_none()
    side.take(8, may_wait=True)

    assert lane.looks == 1
