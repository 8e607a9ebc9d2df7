"""`python -m tests.run`: everything that must hold before a change is done, in one run, cheapest first.

With arguments it is pytest with these arguments, and nothing else runs.
"""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
COVERAGE_FLOOR = 85
CHAOS_S = "90"
"""Faults are fewer than in `make chaos`; with what each scenario needs to start and to end it is three minutes."""
PYTEST = ("-m", "pytest")
SHARED, ALONE = "not long and not alone", "alone and not long"
MOST_AT_ONCE = 4
SOME_FAILED = 1


@dataclass(frozen=True)
class Step:
    """`again`: tests that whole systems take part in. What fails there gets a second try, and the run says so."""

    name: str
    command: tuple[str, ...]
    again: tuple[str, ...] = ()


@dataclass(frozen=True)
class Ended:
    step: Step
    code: int
    seconds: float
    is_second_try: bool = False


def steps() -> list[Step]:
    python = sys.executable
    tool = Path(python).parent
    cover = ("--cov", "--cov-report=", "--durations=5", "--durations-min=0.01")
    return [
        Step("ruff check", (python, "-m", "ruff", "check", ".")),
        Step("ruff format", (python, "-m", "ruff", "format", "--check", ".")),
        Step("import contracts", (str(tool / "lint-imports"),)),
        Step("mypy", (python, "-m", "mypy")),
        Step("unit", (python, *PYTEST, "tests/unit", *cover)),
        Step("simulation", (python, *PYTEST, "tests/simulation")),
        Step(
            "contract",
            (python, *PYTEST, "tests/contract", "-m", SHARED, *side_by_side(), *cover, "--cov-append"),
            again("tests/contract", "-m", SHARED),
        ),
        Step("coverage", (python, "-m", "coverage", "report", "--skip-covered", f"--fail-under={COVERAGE_FLOOR}")),
        Step(
            "integration",
            (python, *PYTEST, "tests/integration", "-m", SHARED, *side_by_side(), "--durations=15"),
            again("tests/integration", "-m", SHARED),
        ),
        Step(
            "alone",
            (python, *PYTEST, "tests/contract", "tests/integration", "-m", ALONE, "--durations=5"),
            again("tests/contract", "tests/integration", "-m", ALONE),
        ),
        Step("e2e", (python, *PYTEST, "tests/e2e", "--durations=5"), again("tests/e2e")),
        Step("chaos", (python, "-m", "tests.chaos", "--scenarios", "ci", "--seconds", CHAOS_S)),
    ]


def side_by_side() -> tuple[str, ...]:
    """These tests mostly wait. A file goes to one process as a whole, and each process has servers of its own."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return ("-n", str(min(cores, MOST_AT_ONCE)), "--dist", "loadfile") if cores > 1 else ()


def again(*what: str) -> tuple[str, ...]:
    """The command for what failed just now, few tests or many: one after the other, with nothing beside them."""
    return (sys.executable, *PYTEST, *what, "--last-failed", "--last-failed-no-failures", "none")


def run(step: Step) -> Ended:
    print(f"\n=== {step.name} ===", flush=True)
    begun = time.monotonic()
    code = subprocess.run(step.command, cwd=ROOT, check=False).returncode
    is_second_try = code == SOME_FAILED and bool(step.again)
    if is_second_try:
        print(f"\n=== {step.name}, a second try of what failed ===", flush=True)
        code = subprocess.run(step.again, cwd=ROOT, check=False).returncode
    return Ended(step, code, time.monotonic() - begun, is_second_try)


def summary(ended: Sequence[Ended]) -> str:
    lines = [f"{'ok    ' if one.code == 0 else 'FAILED'}  {one.step.name:<17} {one.seconds:7.1f} s" for one in ended]
    lines += [f"        {one.step.name}: at the second try; look above" for one in ended if one.is_second_try]
    failed = sum(one.code != 0 for one in ended)
    verdict = f"{failed} of {len(ended)} steps failed" if failed else f"all {len(ended)} steps passed"
    return "\n".join([*lines, f"{verdict} in {sum(one.seconds for one in ended):.0f} s"])


def main() -> int:
    os.chdir(ROOT)
    if arguments := sys.argv[1:]:
        return subprocess.run([sys.executable, *PYTEST, *arguments], check=False).returncode
    ended = [run(step) for step in steps()]
    print(f"\n{summary(ended)}", flush=True)
    return int(any(one.code for one in ended))


if __name__ == "__main__":
    sys.exit(main())
