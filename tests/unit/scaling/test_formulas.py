"""Staffing, bursts, forecast and schedules against figures that others have published, or that follow by hand."""

import math
from datetime import UTC, datetime

import pytest

from inference.scaling import forecast, peaks, schedules
from inference.scaling.erlang import late_share, staff
from inference.scaling.model import Schedule
from tests.unit.scaling.cases import NOW_S, signals


@pytest.mark.parametrize(
    ("servers", "load", "waits"),
    [(1, 0.5, 0.5), (2, 1.0, 1 / 3), (10, 8.0, 0.4092), (100, 90.0, 0.2170)],
)
def test_the_share_that_waits_is_erlangs_c(servers, load, waits):
    assert late_share(servers, load, waits_s=1.0, patience_s=0.0) == pytest.approx(waits, abs=1e-4)


def test_waits_decay_as_in_a_queue_with_many_servers():
    """M/M/1 at half load: the share that waits longer than t is 0.5 exp(-t / 2 s)."""
    assert late_share(1, 0.5, waits_s=1.0, patience_s=3.0) == pytest.approx(0.5 * math.exp(-1.5))


def test_staffing_is_the_fewest_that_will_do():
    few = staff(8.0, waits_s=1.0, patience_s=2.0, late=0.005, most=100)

    assert late_share(few, 8.0, waits_s=1.0, patience_s=2.0) <= 0.005
    assert late_share(few - 1, 8.0, waits_s=1.0, patience_s=2.0) > 0.005


def test_more_variable_traffic_needs_more_servers_and_no_number_is_passed():
    assert staff(8.0, waits_s=4.0, patience_s=2.0, late=0.005, most=100) > staff(
        8.0, waits_s=1.0, patience_s=2.0, late=0.005, most=100
    )
    assert staff(8.0, waits_s=1.0, patience_s=2.0, late=0.005, most=5) == 5
    assert staff(0.0, waits_s=1.0, patience_s=2.0, late=0.005, most=5) == 0


def test_a_peak_counts_in_full_for_a_day_and_half_as_much_each_day_after():
    seen = peaks.learn((), signals(arrivals_5s=80, arrivals_15s=90, arrivals_60s=100))
    keep = {"work_s": 1.0, "patience_s": 5.0}

    today = peaks.keep_up(seen, now_s=NOW_S + 86_400, **keep)
    day_after = peaks.keep_up(seen, now_s=NOW_S + 2 * 86_400, **keep)

    assert today == (8, 5.0, 80.0)
    assert day_after == (4, 5.0, 40.0)


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ((), ()),
        ((100.0,), ((5.0, 1.0, 100.0), (15.0, 1.0, 100.0), (60.0, 1.0, 100.0))),
        ((104.0, 100.0, 102.0, 109.0, 150.0), ((5.0, 3.0, 104.0), (15.0, 4.0, 109.0), (60.0, 5.0, 150.0))),
        ((0.0, 5.0, 60.0), ((5.0, 1.0, 0.0), (15.0, 2.0, 5.0), (60.0, 2.0, 5.0))),
    ],
)
def test_peaks_of_the_past_are_the_most_within_any_window(times, expected):
    assert peaks.of_times(times) == expected


def test_a_smaller_burst_does_not_replace_a_larger_one_until_that_has_faded():
    seen = peaks.learn((), signals(arrivals_5s=80))

    kept = peaks.learn(seen, signals(now_s=NOW_S + 3600, arrivals_5s=50))
    replaced = peaks.learn(seen, signals(now_s=NOW_S + 2 * 86_400, arrivals_5s=50))

    assert kept[0] == (5.0, 80.0, NOW_S)
    assert replaced[0] == (5.0, 50.0, NOW_S + 2 * 86_400)


def test_a_burst_is_kept_up_with_by_what_clears_it_in_its_own_time_and_the_wait_allowed():
    """60 jobs of 1 s within 5 s, each of which may wait 5 s: 6 instances have done 60 s of work after 10 s."""
    assert peaks.keep_up(((5.0, 60.0, NOW_S),), now_s=NOW_S, work_s=1.0, patience_s=5.0)[0] == 6


def test_a_steady_rate_is_forecast_to_stay_and_a_growth_to_die_out():
    flat = growing = None
    for step in range(40):
        flat = forecast.follow(flat, rate=3.0, now_s=NOW_S + 15 * step)
        growing = forecast.follow(growing, rate=0.5 * step, now_s=NOW_S + 15 * step)

    assert forecast.ahead(flat, by_s=600.0) == pytest.approx(3.0)
    assert growing is not None
    soon, late = forecast.ahead(growing, by_s=15.0), forecast.ahead(growing, by_s=3_600.0)
    assert growing[0] < soon < late < growing[0] + 5 * growing[1]


def test_a_forecast_steps_every_fifteen_seconds_and_starts_anew_after_a_gap():
    trend = forecast.follow(None, rate=3.0, now_s=NOW_S)

    assert forecast.follow(trend, rate=9.0, now_s=NOW_S + 14) == trend
    assert forecast.follow(trend, rate=9.0, now_s=NOW_S + 61) == (9.0, 0.0, NOW_S + 61)
    assert forecast.ahead(None, by_s=60.0) == 0.0


@pytest.mark.parametrize(
    ("at", "wanted"),
    [
        ("2026-11-20T07:59:00", 0),  # a Friday, and a start takes 30 s
        ("2026-11-20T07:59:30", 5),
        ("2026-11-20T08:59:59", 5),
        ("2026-11-20T09:00:00", 0),
        ("2026-11-21T08:30:00", 0),
    ],
)
def test_a_schedule_holds_from_a_start_before_its_time_until_its_end(at, wanted):
    weekdays = Schedule(cron="0 8 * * 1-5", min_instances=5, duration_s=3600.0)
    now_s = datetime.fromisoformat(at).replace(tzinfo=UTC).timestamp()

    holds = schedules.asks_for([weekdays], now_s=now_s, ahead_s=30.0)

    assert (holds.min_instances if holds else 0) == wanted


def test_of_two_schedules_the_larger_one_counts():
    always = Schedule(cron="* * * * *", min_instances=2)
    more = Schedule(cron="* * * * *", min_instances=3)

    assert schedules.asks_for([always, more], now_s=NOW_S, ahead_s=0.0) == more
