"""What every policy promises, whatever it is shown."""

import dataclasses
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.scaling.model import Limits, Memory, Schedule, Signals, Unfinished, decode, encode
from inference.scaling.policies import POLICIES
from inference.scaling.policy_slo_drain import SloDrain
from inference.serving import config
from tests.unit.scaling.cases import NOW_S, decide, limits, signals

counts = st.integers(0, 2_000)
shares = st.none() | st.floats(0, 1)
seconds = st.floats(0.001, 300)
fleet = st.integers(0, 40)


@st.composite
def shown(draw):
    arrivals = sorted(draw(st.tuples(counts, counts, counts)))
    return Signals(
        now_s=NOW_S + draw(st.floats(0, 1e6)),
        unfinished=(Unfinished(priority=5, jobs=draw(counts), oldest_s=draw(st.floats(0, 1e4))),),
        arrivals_5s=arrivals[0],
        arrivals_15s=arrivals[1],
        arrivals_60s=arrivals[2],
        work_s=draw(st.none() | seconds),
        service_s=draw(st.none() | seconds),
        cv2_arrivals=draw(st.none() | st.floats(0, 100)),
        cv2_work=draw(st.none() | st.floats(0, 100)),
        start_s=draw(st.none() | st.floats(0, 600)),
        cpu_share=draw(shares),
        memory_share=draw(shares),
        p95_s=draw(st.none() | seconds),
        ready=draw(fleet),
        starting=draw(fleet),
    )


@st.composite
def allowed(draw):
    return Limits(
        min_instances=draw(fleet),
        max_instances=draw(fleet),
        objective_s=draw(st.floats(0.05, 600)),
        hold_down_s=draw(st.none() | st.floats(0, 900)),
        room=draw(st.none() | fleet),
        affordable=draw(st.none() | fleet),
        schedules=tuple(
            draw(st.lists(st.just(Schedule(cron="*/7 * * * *", min_instances=9, duration_s=60)), max_size=1))
        ),
    )


@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)
@settings(max_examples=60, deadline=None)
@given(first=shown(), second=shown(), within=allowed())
def test_every_answer_is_within_the_limits_explained_and_the_same_again(policy, first, second, within):
    _, memory = policy.decide(first, within, Memory())
    later = dataclasses.replace(second, now_s=first.now_s + 1)

    once, kept = policy.decide(later, within, memory)
    again, _ = policy.decide(later, within, memory)
    stored, _ = policy.decide(later, within, decode(encode(memory)))
    twice, _ = policy.decide(later, within, kept) if policy is POLICIES["slo_drain"] else (once, kept)

    assert min(within.min_instances, within.ceiling) <= once.wanted <= within.ceiling
    assert once.reason.startswith((f"{later.instances} -> {once.wanted}: ", f"{once.wanted} stay: "))
    assert all(math.isfinite(figure) for figure in once.details.values())
    assert again == once
    assert stored == once
    assert twice.wanted == once.wanted


@settings(max_examples=80, deadline=None)
@given(seen=shown(), within=allowed(), more=st.integers(1, 500))
def test_more_backlog_never_gives_fewer_instances(seen, within, more):
    (waiting,) = seen.unfinished
    fuller = dataclasses.replace(seen, unfinished=(dataclasses.replace(waiting, jobs=waiting.jobs + more),))

    assert decide(SloDrain(), fuller, within).wanted >= decide(SloDrain(), seen, within).wanted


@settings(max_examples=80, deadline=None)
@given(seen=shown(), within=allowed())
def test_what_is_wanted_drains_the_backlog_within_the_objective_and_keeps_up_with_the_rate(seen, within):
    wanted = decide(SloDrain(), seen, within).wanted

    if seen.work_s and wanted < within.ceiling:
        inside_s = seen.service_s or seen.work_s
        arriving = seen.arrivals_60s / 60 * seen.work_s
        backlog = max(0.0, seen.jobs - seen.arrivals_60s / 60 * inside_s)
        assert wanted >= arriving
        assert backlog * seen.work_s <= (wanted - arriving) * max(within.objective_s, inside_s) * (1 + 1e-9)


@settings(max_examples=20, deadline=None)
@given(jobs=st.integers(1, 200), rate=st.integers(0, 20), jitter=st.lists(st.integers(-2, 2), min_size=60, max_size=60))
def test_nothing_flaps_under_a_constant_load(jobs, rate, jitter):
    """Ten minutes; within a hold-down the number only ever grows, so noise moves it a few times at most."""
    policy, memory, wanted = SloDrain(), Memory(), []
    for step, noise in enumerate(jitter):
        arrivals = max(0, 60 * rate + 5 * noise)
        seen = signals(
            now_s=NOW_S + 10 * step, jobs=max(0, jobs + noise), arrivals_15s=arrivals // 4, arrivals_60s=arrivals
        )
        decision, memory = policy.decide(seen, limits(max_instances=100), memory)
        wanted.append(decision.wanted)

    downs = [step for step in range(1, 60) if wanted[step] < wanted[step - 1]]
    assert not downs or downs[0] >= 30
    assert len(downs) <= 3


def test_a_service_may_choose_every_policy_there_is():
    assert set(config.POLICIES) == set(POLICIES)


def test_memory_stays_small_however_long_a_service_runs():
    policy, memory = SloDrain(), Memory()

    for step in range(2_000):
        seen = signals(now_s=NOW_S + step, jobs=(step * 37) % 200, arrivals_15s=step % 90, arrivals_60s=step % 300)
        _, memory = policy.decide(seen, limits(), memory)

    assert len(encode(memory)) < 2_000


def test_a_memory_of_another_form_is_forgotten():
    assert decode(b'{"needs": "many"}') == Memory()
    assert decode(None) == Memory()
