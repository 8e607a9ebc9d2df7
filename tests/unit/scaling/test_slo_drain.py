"""The policy that drains within the objective: what it asks for, and why."""

import pytest

from inference.scaling.model import Memory, Schedule
from inference.scaling.policy_slo_drain import SloDrain
from tests.unit.scaling.cases import NOW_S, decide, limits, signals

POLICY = SloDrain()
SUNDAY_8_S = 1_799_568_000.0
BURST = ((5.0, 100.0, NOW_S - 60), (15.0, 120.0, NOW_S - 60), (60.0, 130.0, NOW_S - 60))


@pytest.mark.parametrize(
    ("seen", "allowed", "memory", "wanted", "reason"),
    [
        (
            signals(jobs=41, work_s=0.6, service_s=0.6, ready=3),
            limits(),
            Memory(),
            3,
            "3 stay: 41 jobs wait, 8.2 s of work each instance, objective 10 s",
        ),
        (
            signals(jobs=60, work_s=0.7, service_s=0.7, ready=3),
            limits(),
            Memory(),
            5,
            "3 -> 5: 60 jobs wait, 14.0 s of work each instance, objective 10 s",
        ),
        (
            signals(arrivals_15s=150, arrivals_60s=600, ready=1),
            limits(),
            Memory(),
            6,
            "1 -> 6: 10 jobs/s of 0.5 s keep 5 instances busy, objective 10 s",
        ),
        (
            signals(arrivals_60s=60, ready=1),
            limits(),
            Memory(trend=(10.0, 10.0, NOW_S)),
            6,
            "1 -> 6: 11 jobs/s are expected in 2 s, which is how long a start takes",
        ),
        (
            signals(jobs=10, ready=4),
            limits(),
            Memory(needs=((NOW_S - 120, 4),)),
            4,
            "4 stay: 4 were needed 120 s ago, 1 are now, and a need holds for 300 s",
        ),
        (
            signals(ready=1, start_s=20.0),
            limits(min_instances=1),
            Memory(peaks=BURST),
            4,
            "1 -> 4: 100 jobs came within 5 s lately, and a start (20 s) is too slow for the objective of 10 s",
        ),
        (
            signals(ready=1, now_s=SUNDAY_8_S + 60),
            limits(schedules=(Schedule(cron="0 8 * * 0", min_instances=7),)),
            Memory(),
            7,
            '1 -> 7: the schedule "0 8 * * 0" asks for it',
        ),
        (
            signals(jobs=1_000, work_s=1.0, ready=2),
            limits(max_instances=8),
            Memory(),
            8,
            "2 -> 8: 1000 jobs wait, 500.0 s of work each instance, objective 10 s; "
            "112 were wanted, the limits allow 8",
        ),
        (
            signals(jobs=1_000, work_s=1.0, ready=2),
            limits(room=3),
            Memory(),
            3,
            "2 -> 3: 1000 jobs wait, 500.0 s of work each instance, objective 10 s; "
            "112 were wanted, there is room for 3",
        ),
        (
            signals(jobs=1_000, work_s=1.0, ready=2),
            limits(affordable=1),
            Memory(),
            1,
            "2 -> 1: 1000 jobs wait, 500.0 s of work each instance, objective 10 s; "
            "112 were wanted, the budget pays for 1",
        ),
        (signals(ready=1), limits(), Memory(), 0, "1 -> 0: no job came for 60 s; the next one wakes it"),
        (
            signals(work_s=None, service_s=None, ready=1),
            limits(),
            Memory(),
            0,
            "1 -> 0: no job came for 60 s; the next one wakes it",
        ),
        (signals(ready=3), limits(min_instances=2), Memory(), 2, "3 -> 2: no job came for 60 s; the limits ask for 2"),
        (
            signals(jobs=500, work_s=None, service_s=None),
            limits(),
            Memory(),
            1,
            "0 -> 1: 500 jobs wait, and how long one takes is not known yet",
        ),
        (
            signals(jobs=0, arrivals_15s=7_500, arrivals_60s=30_000, work_s=0.001, service_s=0.001, ready=6),
            limits(),
            Memory(),
            1,
            "6 -> 1: 500 jobs/s of 0.001 s keep 0.5 instances busy, objective 10 s",
        ),
        (signals(jobs=1), limits(), Memory(), 1, "0 -> 1: 1 job waits, 0.5 s of work each instance, objective 10 s"),
    ],
)
def test_a_decision_says_why(seen, allowed, memory, wanted, reason):
    decision = decide(POLICY, seen, allowed, memory)

    assert (decision.wanted, decision.reason) == (wanted, reason)


def test_jobs_that_a_steady_rate_keeps_in_engines_are_no_backlog():
    """Two jobs a second of eight seconds: sixteen are always running, and none of them waits."""
    steady = signals(jobs=16, arrivals_15s=30, arrivals_60s=120, work_s=8.0, service_s=8.0, ready=20)

    decision = decide(POLICY, steady, limits(objective_s=10.0, max_instances=100))

    assert 17 <= decision.wanted <= 26
    assert "keep 16 instances busy" in decision.reason


def test_a_need_holds_for_five_starts_when_those_are_longer_than_five_minutes():
    seen = signals(ready=4, start_s=100.0)

    held = decide(POLICY, seen, limits(objective_s=300.0), Memory(needs=((NOW_S - 499, 4),)))
    over = decide(POLICY, seen, limits(objective_s=300.0), Memory(needs=((NOW_S - 501, 4),)))

    assert (held.wanted, over.wanted) == (4, 0)


def test_a_hold_down_of_the_service_replaces_the_usual_one():
    held = decide(POLICY, signals(ready=4), limits(hold_down_s=10.0), Memory(needs=((NOW_S - 9, 4),)))
    over = decide(POLICY, signals(ready=4), limits(hold_down_s=10.0), Memory(needs=((NOW_S - 11, 4),)))

    assert (held.wanted, over.wanted) == (4, 0)


def test_a_service_that_may_rest_keeps_no_floor_once_it_is_idle():
    idle = signals(ready=4, start_s=20.0)
    busy = signals(jobs=1, ready=4, start_s=20.0)

    resting = decide(POLICY, idle, limits(min_instances=0), Memory(peaks=BURST))
    working = decide(POLICY, busy, limits(min_instances=0), Memory(peaks=BURST))

    assert (resting.wanted, working.wanted) == (0, 4)


def test_a_service_whose_instances_start_in_time_keeps_no_floor():
    quick = decide(POLICY, signals(start_s=6.6), limits(min_instances=1), Memory(peaks=BURST))
    slow = decide(POLICY, signals(start_s=6.7), limits(min_instances=1), Memory(peaks=BURST))

    assert (quick.wanted, slow.wanted) == (1, 4)


def test_a_burst_that_came_is_remembered_for_the_floor():
    _, memory = POLICY.decide(signals(arrivals_5s=100), limits(min_instances=1), Memory())

    later = decide(POLICY, signals(now_s=NOW_S + 3600, start_s=20.0), limits(min_instances=1), memory)

    assert later.wanted == 4


def test_growth_is_staffed_for_the_time_at_which_a_start_would_be_over():
    seen = signals(arrivals_60s=600, start_s=60.0)

    steady = decide(POLICY, seen, limits(objective_s=90.0), Memory(trend=(10.0, 0.0, NOW_S)))
    growing = decide(POLICY, seen, limits(objective_s=90.0), Memory(trend=(10.0, 2.0, NOW_S)))
    falling = decide(POLICY, seen, limits(objective_s=90.0), Memory(trend=(10.0, -2.0, NOW_S)))

    assert growing.wanted > steady.wanted == falling.wanted


def test_a_forecast_at_most_doubles_the_rate():
    seen = signals(arrivals_60s=60, start_s=60.0)

    wild = decide(POLICY, seen, limits(objective_s=90.0), Memory(trend=(1.0, 1000.0, NOW_S)))

    assert "2 jobs/s are expected" in wild.reason
