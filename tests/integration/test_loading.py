"""Models that load slowly, and models that do not load at all."""

import time
from pathlib import Path

import pytest

from tests.system import System, kill, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

LOAD_S = 6.0


def test_a_killed_child_of_a_slow_model_comes_back(system: System):
    """Celery gives a replaced child 4 s by default, and would kill this one for ever."""
    service = system.run("slow", timeout_s=60, load_s=LOAD_S)
    (engine,) = system.pids("engine", service)
    assert system.task(system.submit(service), wait_s=10)["status"] == "completed"

    kill(engine)
    begun = time.monotonic()
    answer = system.task(system.submit(service, 4.0), wait_s=40)
    back_s = time.monotonic() - begun
    engines = system.pids("engine", service)
    time.sleep(5)

    print(f"answered {back_s:.1f} s after the kill; loading takes {LOAD_S} s")
    assert answer["result"] == {"y": [[8.0] * 4]}
    assert LOAD_S < back_s < 60
    assert engine not in engines
    assert system.pids("engine", service) == engines, "the new child was replaced again"


@pytest.mark.parametrize("how", ["raise", "exit", "signal"])
def test_a_model_that_cannot_load_stops_its_replica_after_three_tries_and_says_why(
    system: System, how: str, tmp_path: Path
):
    tally = tmp_path / "tally"
    service = system.create(system.register("crash-on-load", how=how, tally=str(tally)))

    system.begin(service)
    shown = wait_for(lambda: (s := system.show(service))["status"] == "error" and s, timeout_s=60, what="state error")
    tries = len(tally.read_text().splitlines())
    time.sleep(5)

    print(f"{tries} tries, then {shown['status']}: {shown['reason']} | {shown['suggested_action']}")
    assert "asked not to load" in shown["reason"] if how == "raise" else "process died" in shown["reason"]
    assert shown["suggested_action"]
    assert tries == 3
    assert len(tally.read_text().splitlines()) == tries, "it is still being tried"
    assert system.pids("worker", service) == []
    assert system.show(service)["status"] == "error"
