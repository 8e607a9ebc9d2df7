"""Which rows answer for a range."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.reports import cover
from inference.setting_rooms import TelemetrySettings
from inference.telemetry.series import HOUR, MINUTE, SECOND

DAY = 86_400
NOW = 1_795_000_000.0
KEPT = TelemetrySettings()


@given(
    since=st.integers(0, 20_000),
    length=st.integers(0, 20_000),
    widest=st.sampled_from([SECOND, MINUTE, HOUR]),
    minutes=st.integers(0, 400),
    hours=st.integers(0, 8),
)
def test_each_second_lies_in_one_piece_and_each_piece_is_of_whole_rows_that_are_made(
    since: int, length: int, widest: int, minutes: int, hours: int
):
    made = {MINUTE: minutes * MINUTE, HOUR: hours * HOUR}

    pieces = cover.cut(since, since + length, widest=widest, made=made)

    at = since
    for width, first, last in pieces:
        assert (first, last > first) == (at, True)
        assert first % width == last % width == 0
        assert width <= widest
        assert width == SECOND or last <= made[width]
        at = last
    assert at == (since + length if pieces else since)
    assert bool(pieces) == (length > 0)


@pytest.mark.parametrize(
    ("age_s", "unit"), [(600, SECOND), (7_200, MINUTE), (3 * DAY, MINUTE), (30 * DAY, HOUR)]
)  # fmt: skip
def test_a_range_is_as_fine_as_what_is_kept_of_its_beginning(age_s: int, unit: int):
    since, until = cover.aligned(NOW - age_s + 0.4, NOW - 1.2, now=NOW, kept=KEPT)

    assert since % unit == until % unit == 0
    assert since <= NOW - age_s + 0.4 < since + unit
    assert until - unit < NOW - 1.2 <= until


@pytest.mark.parametrize(
    ("length", "services", "width"),
    [(300, 1, SECOND), (DAY, 1, MINUTE), (DAY, 40, HOUR), (30 * DAY, 1, HOUR), (400 * DAY, 3, HOUR)],
)  # fmt: skip
def test_plots_are_made_of_a_bounded_number_of_rows_and_have_a_bounded_number_of_steps(
    length: int, services: int, width: int
):
    since, until = int(NOW) // HOUR * HOUR - length, int(NOW) // HOUR * HOUR

    found = cover.widest_for(since, until, services=services, now=until, kept=KEPT)
    step = cover.step_for(since, until, found)

    assert found == width
    assert step % width == 0
    assert (until - since) / step <= cover.MOST_MOMENTS + 1
