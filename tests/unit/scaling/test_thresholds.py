"""The policy of simple rules."""

import pytest

from inference.scaling.model import Memory, Schedule
from inference.scaling.policy_thresholds import Thresholds
from tests.unit.scaling.cases import NOW_S, decide, limits, signals

POLICY = Thresholds()
CALM = Memory(marks={"wanted": 4.0, "calm_since_s": NOW_S - 300})


@pytest.mark.parametrize(
    ("seen", "memory", "wanted", "reason"),
    [
        (signals(jobs=15, ready=4), Memory(), 6, "4 -> 6: 11 jobs wait, more than 10"),
        (signals(jobs=14, ready=4), Memory(), 4, "4 stay: all figures are between their thresholds"),
        (signals(jobs=1, ready=4, cpu_share=0.71), Memory(), 6, "4 -> 6: CPU 71%, above 70%"),
        (signals(jobs=1, ready=4, memory_share=0.81), Memory(), 6, "4 -> 6: memory 81%, above 80%"),
        (
            signals(jobs=1, ready=4, p95_s=0.11, service_s=0.01),
            Memory(),
            6,
            "4 -> 6: responses take 0.11 s, above 0.1 s",
        ),
        (
            signals(jobs=1, ready=4, p95_s=1.9, service_s=0.5),
            Memory(),
            4,
            "4 stay: all figures are between their thresholds",
        ),
        (
            signals(jobs=1, ready=4, cpu_share=0.29, memory_share=0.39),
            CALM,
            3,
            "4 -> 3: CPU 29%, below 30% and memory 39%, below 40% for 300 s",
        ),
        (
            signals(jobs=1, ready=4, cpu_share=0.29, memory_share=0.41),
            CALM,
            4,
            "4 stay: all figures are between their thresholds",
        ),
        (signals(ready=4, memory_share=0.6), CALM, 3, "4 -> 3: no job came for 300 s"),
        (signals(jobs=1), Memory(), 1, "0 -> 1: 1 jobs wait"),
        (
            signals(jobs=50, ready=20),
            Memory(),
            20,
            "20 stay: 30 jobs wait, more than 10; 30 were wanted, the limits allow 20",
        ),
    ],
)
def test_a_decision_says_which_rule_it_follows(seen, memory, wanted, reason):
    decision = decide(POLICY, seen, limits(), memory)

    assert (decision.wanted, decision.reason) == (wanted, reason)


def test_the_next_step_out_waits_for_the_last_one_to_arrive():
    first, memory = POLICY.decide(signals(jobs=50, ready=4), limits(), Memory())

    waiting, memory = POLICY.decide(signals(jobs=50, ready=4, starting=2), limits(), memory)
    second, _ = POLICY.decide(signals(jobs=50, ready=6), limits(), memory)

    assert (first.wanted, waiting.wanted, second.wanted) == (6, 6, 9)


def test_an_instance_that_crashed_does_not_lower_what_is_wanted():
    memory = Memory(marks={"wanted": 4.0, "calm_since_s": NOW_S})

    assert decide(POLICY, signals(jobs=1, ready=2, cpu_share=0.5), limits(), memory).wanted == 4


def test_calm_starts_anew_after_every_interruption():
    calm, busy = signals(jobs=1, ready=4, cpu_share=0.1), signals(jobs=1, ready=4, cpu_share=0.5)

    _, memory = POLICY.decide(busy, limits(), CALM)
    _, memory = POLICY.decide(calm, limits(), memory)

    assert decide(POLICY, signals(now_s=NOW_S + 299, jobs=1, ready=4, cpu_share=0.1), limits(), memory).wanted == 4
    assert decide(POLICY, signals(now_s=NOW_S + 300, jobs=1, ready=4, cpu_share=0.1), limits(), memory).wanted == 3


def test_a_schedule_outbids_the_rules():
    allowed = limits(schedules=(Schedule(cron="* * * * *", min_instances=5),))

    assert decide(POLICY, signals(ready=1), allowed).wanted == 5
