"""Predictions as the sampler counts them: by half second, told now and then, and again when Redis was away."""

from types import SimpleNamespace
from typing import Any

from inference.jobs.express_model import ExpressJob
from inference.jobs.predicted import Predicted
from tests.fakes_telemetry import FakeFigures


def outcome(ended_at: float, *, took_s: float = 0.1, error: str | None = None) -> Any:
    fields = dict.fromkeys(ExpressJob.__struct_fields__)
    job = ExpressJob(**fields | {"submitted_at": ended_at - took_s})
    return SimpleNamespace(job=job, ended_at=ended_at, result=None if error else b"{}", error_code=error)


def test_they_are_told_by_half_second_with_what_went_wrong():
    figures = FakeFigures()
    predicted = Predicted(figures, "s")

    predicted.note([outcome(10.1), outcome(10.2, error="timed_out"), outcome(10.7)])
    predicted.tell()

    (_, first, one), (_, second, other) = figures.waiting
    assert (first, one.completed, one.failed, dict(one.errors)) == (20, 1, 1, {"timed_out": 1})
    assert (second, other.completed, other.predictions, len(other.latencies)) == (21, 1, 1, 1)


def test_what_redis_did_not_take_is_told_again():
    figures = FakeFigures()
    predicted = Predicted(figures, "s")
    predicted.note([outcome(10.1)])
    figures.is_away = True
    predicted.tell(is_over=True)

    figures.is_away = False
    predicted.note([outcome(10.2)])
    predicted.tell(is_over=True)

    ((_, slot, work),) = figures.waiting
    assert (slot, work.completed) == (20, 2)


def test_without_anybody_to_tell_nothing_is_counted():
    predicted = Predicted(None, "s")

    predicted.note([outcome(10.1)])
    predicted.tell(is_over=True)
