"""What an engine can do to the jobs that share its calls."""

import random
import time

from tests.chaos.broken_models import TOO_LATE, try_all
from tests.chaos.engine import Kind
from tests.chaos.world import World


def bad_mates(world: World) -> None:
    """A hang, crashes, calls that are too big, NaN and exceptions among good jobs in the same batches."""
    world.serve(max_attempts=3, timeout_s=1.5, engine={"call_ms": 20, "row_ms": 1})
    kinds = [Kind.HANG, Kind.POISON, *[Kind.TOO_BIG] * 4, *[Kind.NAN] * 4, *[Kind.RETRYABLE] * 3, *[Kind.WRONG] * 2]
    kinds += [Kind.GOOD] * 60
    random.Random(world.seed).shuffle(kinds)
    world.submit_of(kinds)
    world.load(shares={Kind.NAN: 0.02, Kind.TOO_BIG: 0.02, Kind.WRONG: 0.02, Kind.RETRYABLE: 0.02}, rate=20)
    time.sleep(world.lasting(10))
    world.settle(timeout_s=90)
    found = dict(world.system.rows("SELECT coalesce(error_code, ''), count(*) FROM attempts GROUP BY 1"))
    world.feel("lost_with_the_process", found.get("instance_lost", 0), at_least=6)
    world.feel("out_of_memory", found.get("out_of_memory", 0))
    world.feel("failed_alone", found.get("engine_failed", 0), at_least=2)
    world.feel("ran_again_in_halves", _ran_again(world), at_least=4)
    world.figures["attempts_by_error"] = found


def poison(world: World) -> None:
    """Five jobs that end every process that runs them, among a hundred that do not."""
    world.serve(max_attempts=3)
    kinds = [Kind.POISON] * 5 + [Kind.GOOD] * 100
    random.Random(world.seed).shuffle(kinds)
    world.submit_of(kinds, key="poison")
    world.load(shares={}, rate=20)
    time.sleep(world.lasting(8))
    world.settle(timeout_s=120)
    states = world.system.states(world.service)
    lives = world.system.rows("SELECT count(DISTINCT pid) FROM chaos_lives")[0][0]
    world.feel("dead", states.get("dead", 0), at_least=5)
    world.feel("engine_processes", lives, at_least=6)
    world.figures["attempts_lost"] = world.outcomes()["lost"]


def broken(world: World) -> None:
    """2,000 damaged models through the validator: each answered or refused by a process of its own, none for ever."""
    wanted = world.times(2_000)
    found = try_all(wanted, world.seed)
    world.feel("tried", found.total(), at_least=wanted)
    world.feel("refused", found.total() - found["good"], at_least=wanted / 4)
    world.feel("ended_in_time", found.total() - found[TOO_LATE], at_least=wanted)
    world.figures["outcomes"] = dict(found)


def _ran_again(world: World) -> int:
    values = world.effect_values()
    return len(values) - len(set(values))
