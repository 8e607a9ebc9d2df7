"""The batch curve and what is chosen from it."""

import numpy as np
import pytest

from inference.engines.profile import buckets, choose, measure
from inference.errors import OutOfMemory

FLAT = ((1, 1.0, 1.1), (2, 1.0, 1.1), (4, 1.0, 1.1), (8, 1.0, 1.1))
LINEAR = ((1, 10.0, 11.0), (2, 20.0, 22.0), (4, 40.0, 44.0), (8, 80.0, 88.0))
KNEE = ((1, 4.0, 4.4), (2, 4.2, 4.6), (4, 5.0, 5.5), (8, 6.0, 6.6), (16, 11.4, 12.0), (32, 24.0, 26.0))


@pytest.mark.parametrize(
    ("curve", "objective_ms", "max_batch", "chosen"),
    [
        (FLAT, 500, 64, 8),  # nothing speaks against the largest
        (LINEAR, 500, 64, 1),  # batching gains nothing, so the first is the knee
        (KNEE, 500, 64, 8),  # 1.40 rows/ms at 16 is the best, and 1.33 at 8 the first within 10 % of it
        (KNEE, 20, 64, 8),
        (KNEE, 12, 64, 4),  # p99 of 8 is 6.6, not under 6
        (KNEE, 9, 64, 1),  # p99 of 2 is 4.6, not under 4.5
        (KNEE, 1, 64, 1),  # none is fast enough: the smallest
        (KNEE, 500, 4, 4),  # the service's own limit
        (FLAT, 500, 3, 2),
        (((4, 3.0, 3.0),), 500, 64, 4),  # a model of fixed batch length
        (((4, 3.0, 3.0),), 500, 2, 4),
        ((), 500, 64, 1),
    ],
)
def test_the_largest_fast_bucket_but_not_beyond_the_knee(curve, objective_ms, max_batch, chosen):
    assert choose(curve, objective_ms=objective_ms, max_batch=max_batch) == chosen


@pytest.mark.parametrize(
    ("limit", "sizes"), [(1, (1,)), (2, (1, 2)), (6, (1, 2, 4, 6)), (64, (1, 2, 4, 8, 16, 32, 64))]
)
def test_buckets_are_powers_of_two_and_the_limit(limit, sizes):
    assert buckets(limit) == sizes


class Timed:
    """An engine on a clock of its own: `fixed_ms` a call and `row_ms` a row."""

    provider = "cpu"
    inputs = outputs = ()

    def __init__(self, fixed_ms, row_ms, most_rows=10**6):
        self.held_up_s = 0.0
        self.now_s, self.fixed_ms, self.row_ms, self.most_rows = 0.0, fixed_ms, row_ms, most_rows
        self.sizes = []

    def run(self, inputs):
        rows = len(inputs["x"])
        if rows > self.most_rows:
            raise OutOfMemory("too many rows")
        self.sizes.append(rows)
        self.now_s += (self.fixed_ms + rows * self.row_ms) / 1000
        return {}

    def close(self): ...


SAMPLE = {"x": np.ones((2, 3), np.float32)}


def test_the_curve_is_what_the_calls_took():
    engine = Timed(2.0, 0.5)

    curve = measure(engine, SAMPLE, max_batch=8, clock=lambda: engine.now_s, held_up=lambda: engine.held_up_s)

    assert [rows for rows, *_ in curve] == [1, 2, 4, 8]
    assert [round(median_ms, 6) for _, median_ms, _ in curve] == [2.5, 3.0, 4.0, 6.0]
    assert all(p99_ms == pytest.approx(median_ms) for _, median_ms, p99_ms in curve)


def test_what_others_took_of_the_machine_is_not_in_the_curve():
    class Disturbed(Timed):
        def run(self, inputs):
            stolen_s = 0.02 * (len(self.sizes) % 3)
            self.now_s, self.held_up_s = self.now_s + stolen_s, self.held_up_s + stolen_s
            return super().run(inputs)

    engine = Disturbed(2.0, 0.5)

    curve = measure(engine, SAMPLE, max_batch=8, clock=lambda: engine.now_s, held_up=lambda: engine.held_up_s)

    assert [round(median_ms, 6) for _, median_ms, _ in curve] == [2.5, 3.0, 4.0, 6.0]


def test_measuring_keeps_to_its_budget():
    engine = Timed(10.0, 20.0)

    curve = measure(engine, SAMPLE, budget_s=1.5, clock=lambda: engine.now_s, held_up=lambda: engine.held_up_s)

    assert engine.now_s < 2.0
    assert 1 < len(curve) < 7


def test_a_model_slower_than_the_budget_is_still_measured_once():
    engine = Timed(5000.0, 0.0)

    curve = measure(engine, SAMPLE, budget_s=1.5, clock=lambda: engine.now_s, held_up=lambda: engine.held_up_s)

    assert curve == ((1, pytest.approx(5000.0), pytest.approx(5000.0)),)
    assert engine.sizes == [1, 1]


def test_the_curve_ends_where_memory_ends():
    engine = Timed(1.0, 0.1, most_rows=8)

    curve = measure(engine, SAMPLE, clock=lambda: engine.now_s, held_up=lambda: engine.held_up_s)

    assert [rows for rows, *_ in curve] == [1, 2, 4, 8]


@pytest.mark.parametrize(
    ("fixed_ms", "row_ms", "sizes"),
    [
        (1.0, 1.0, [1, 2, 4, 8, 16, 32, 64]),  # calls are short, and no two doublings in a row are flat
        (0.1, 10.0, [1, 2, 4]),  # batching gains nothing at all
        (3.0, 2.0, [1, 2, 4, 8, 16, 32]),  # 32 rows take 67 ms and gain 4 %
        (5.0, 60.0, [1, 2]),  # 2 rows gain 4 %, in 125 ms
    ],
)
def test_the_curve_ends_where_doubling_gains_nothing_and_sooner_where_calls_are_long(fixed_ms, row_ms, sizes):
    engine = Timed(fixed_ms, row_ms)

    curve = measure(engine, SAMPLE, clock=lambda: engine.now_s, held_up=lambda: engine.held_up_s)

    assert [rows for rows, *_ in curve] == sizes


def test_long_calls_are_timed_thrice_and_short_ones_more_often():
    engine = Timed(0.0, 2.0)

    measure(engine, SAMPLE, max_batch=1, clock=lambda: engine.now_s, held_up=lambda: engine.held_up_s)
    short, engine.sizes = len(engine.sizes), []
    engine.row_ms = 60.0
    measure(engine, SAMPLE, max_batch=1, clock=lambda: engine.now_s, held_up=lambda: engine.held_up_s)

    assert (short, len(engine.sizes)) == (1 + 20, 1 + 3)


def test_a_model_that_cannot_run_one_row_says_so():
    engine = Timed(1.0, 0.1, most_rows=0)

    with pytest.raises(OutOfMemory):
        measure(engine, SAMPLE, clock=lambda: engine.now_s, held_up=lambda: engine.held_up_s)


def test_a_fixed_batch_length_is_the_only_bucket():
    engine = Timed(1.0, 0.0)
    engine.fixed_rows = 6

    curve = measure(engine, SAMPLE, clock=lambda: engine.now_s, held_up=lambda: engine.held_up_s)

    assert [rows for rows, *_ in curve] == [6]
