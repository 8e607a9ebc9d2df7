"""The job protocol under every order of events that dice or patience bring; and that wrong protocols are found out."""

from collections import Counter
from typing import Any

import pytest

from inference.clock import monotonic_s
from inference.jobs.model import Claimant, ClaimedJob, JobState
from tests.simulation.cases import CASES, Case, every_schedule
from tests.simulation.choices import Dice, every_path
from tests.simulation.mutants import CAUGHT_BY, CAUGHT_IN_CASES, world_of
from tests.simulation.rows import Row
from tests.simulation.store import ModelStore
from tests.simulation.world import World, schedule

SCHEDULES = 20_000
MOST_FOR_A_MUTANT = 6_000


def test_no_schedule_breaks_the_protocol(capsys: pytest.CaptureFixture[str]):
    began, broken = monotonic_s(), {}

    for seed in range(SCHEDULES):
        if found := schedule(Dice(seed)).judge():
            broken[seed] = found

    with capsys.disabled():
        print(f" [{SCHEDULES / (monotonic_s() - began):,.0f} schedules/s] ", end="")
    assert broken == {}


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_no_interleaving_breaks_the_protocol(case: Case):
    worlds = [world.judge() for world in every_schedule(case)]

    assert len(worlds) > 1_000
    assert [found for found in worlds if found] == []


@pytest.mark.parametrize("mutant", CAUGHT_BY, ids=lambda mutant: mutant.__name__)
def test_a_wrong_protocol_is_found_out(mutant: type[Any]):
    kind, found = world_of(mutant), set[str]()

    for seed in range(MOST_FOR_A_MUTANT):
        found |= {name for name, _ in schedule(Dice(seed), kind=kind).judge()}
        if found & CAUGHT_BY[mutant]:
            break

    assert found & CAUGHT_BY[mutant]


@pytest.mark.parametrize("mutant", CAUGHT_IN_CASES, ids=lambda mutant: mutant.__name__)
def test_what_dice_rarely_bring_is_found_out_in_a_small_case(mutant: type[Any]):
    found: Counter[str] = Counter()

    for case in CASES:
        for world in every_schedule(case, world_of(mutant)):
            found.update({name for name, _ in world.judge()})
        if found:
            break

    assert found.keys() & CAUGHT_IN_CASES[mutant]


def test_a_seed_is_a_schedule():
    first, second, other = (schedule(Dice(seed)).store.moves.seen for seed in (7, 7, 8))

    assert first == second
    assert first != other


def test_every_path_is_taken_once():
    def program(pick: Any) -> tuple[int, ...]:
        first = pick(3)
        return (first, pick(2)) if first == 1 else (first,)

    assert [program(path.pick) for path in every_path()] == [(0,), (1, 0), (1, 1), (2,)]


def test_the_schedules_reach_what_they_are_about():
    seen: Counter[str] = Counter()

    class Watching(ModelStore):
        def is_his(self, row: Row, by: Claimant, job: ClaimedJob) -> bool:
            reasons = {
                "a later generation": row.generation != job.generation,
                "a later attempt": row.attempt != job.attempt,
                "another instance": row.instance_id != by.instance_id,
                "another life": row.instance_generation != by.generation,
                "another state": row.state is not JobState.RUNNING,
            }
            seen.update(name for name, is_so in reasons.items() if is_so)
            return super().is_his(row, by, job)

        def claim(self, by: Claimant, **how: Any) -> Any:
            found = super().claim(by, **how)
            if found.jobs:
                seen["a claim ahead" if how.get("is_ahead") else "a claim"] += 1
            return found

    kind: type[World] = type("Watched", (World,), {"store_kind": Watching})
    for seed in range(2_000):
        world = schedule(Dice(seed), kind=kind)
        seen.update(row.state.value for row in world.store.rows.values())
        seen.update("a retry" for row in world.store.rows.values() if row.generation > 1)
        seen.update(attempt.outcome for attempt in world.store.attempts)
        seen.update("a lost answer" for line in world.client if line["status"] is None)

    rare = {name: seen[name] for name in ("a later generation", "a later attempt", "a claim ahead") if seen[name] < 20}
    expected = {"a claim", "another instance", "another life", "another state", "a retry", "a lost answer", "retried",
                "lost", "completed", "failed", "dead", "cancelled", "expired"}  # fmt: skip
    assert rare == {}
    assert {name for name in expected if seen[name] < 100} == set()
