"""The sketch: its error bound, and that sums of sketches are sketches of sums."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.telemetry.percentiles import ERROR, Sketch

DURATIONS = st.lists(st.integers(min_value=1, max_value=10**12).map(lambda micros: micros / 1e6), min_size=1)


def sketch(*seconds: float) -> Sketch:
    made = Sketch()
    made.add(seconds)
    return made


@given(DURATIONS, st.sampled_from((0.0, 0.5, 0.95, 0.99, 1.0)))
def test_a_quantile_is_within_its_error(seconds: list[float], share: float):
    exact = sorted(seconds)[max(1, math.ceil(share * len(seconds))) - 1]

    assert sketch(*seconds).quantile(share) == pytest.approx(exact, rel=ERROR * 1.001)


@given(DURATIONS, DURATIONS)
def test_a_merge_is_the_sketch_of_both(some: list[float], more: list[float]):
    merged = sketch(*some)

    merged.merge(sketch(*more))

    assert merged == sketch(*some, *more)


@given(DURATIONS)
def test_bytes_bring_back_the_same_sketch(seconds: list[float]):
    assert Sketch.of_bytes(sketch(*seconds).to_bytes()) == sketch(*seconds)


def test_of_nothing_there_is_no_quantile():
    assert Sketch().quantile(0.5) is None
    assert Sketch.of_bytes(None) == Sketch.of_bytes(b"") == Sketch()


def test_a_second_of_three_thousand_jobs_takes_a_few_hundred_bytes():
    made = Sketch()

    made.add(0.004 + 0.000003 * number for number in range(3_000))

    assert len(made.to_bytes()) < 300
