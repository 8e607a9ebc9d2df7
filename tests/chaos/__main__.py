"""`python -m tests.chaos`: breaks every part of real systems under load, and proves that no job was lost or doubled.

One JSON line per scenario on standard output, then a table; exit code 1 if one failed. What a scenario does follows
from `--seed` and `--seconds`; a fault that was not felt is a failure. `make chaos` runs all of it in under ten minutes.
"""

import argparse
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.chaos.scenarios import ALL, CI, Scenario
from tests.chaos.world import Skipped, World, line

SEED = 20_261_120


@dataclass(frozen=True, slots=True)
class Ended:
    name: str
    kind: str
    seconds: float
    what: str
    found: dict[str, Any]


def play(scenario: Scenario, kind: str, *, seed: int, scale: float, keep: Path | None) -> Ended:
    """One scenario from its start to its verdict; never raises."""
    begun = time.monotonic()
    print(f"--- {scenario.name} on {kind}", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(prefix="penstock-chaos-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)  # PostgreSQL runs as somebody else
        world = World(folder=folder, kind=kind, seed=seed, scale=scale, settings=scenario.settings)
        try:
            found = _play(scenario, world)
            what = "ok" if found["ok"] else "FAILED"
        except Skipped as why:
            found, what = {"ok": True, "skipped": str(why)}, "skipped"
        except Exception as error:
            traceback.print_exc()
            found, what = {"ok": False, "error": f"{type(error).__name__}: {error}"[:3000]}, "FAILED"
        if keep is not None and what != "skipped":
            _keep(folder, keep / f"{scenario.name}-{kind}")
        for act in world.at_close:
            act()
    seconds = time.monotonic() - begun
    print(line(scenario.name, kind, seconds, found), flush=True)
    return Ended(scenario.name, kind, seconds, what, found)


def _play(scenario: Scenario, world: World) -> dict[str, Any]:
    try:
        if scenario.before is not None:
            scenario.before(world)
        if scenario.has_system:
            world.open()
        scenario.run(world)
        return world.verdict() if scenario.has_system else world.plain_verdict()
    finally:
        world.close()


def _keep(folder: Path, target: Path) -> None:
    import shutil

    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(folder, target, ignore=shutil.ignore_patterns("postgres", "*.sock", "blobs"), symlinks=True)


def table(ended: Sequence[Ended]) -> str:
    """For a person: what was felt, and the figures that issue 4 asks for."""
    rows = [f"{'scenario':<20} {'database':<10} {'s':>6}  {'':<7}  lost dup.ids dup.effects again  felt and measured"]
    for one in ended:
        found = one.found
        counts = [found.get(name, "-") for name in ("lost", "duplicate_ids", "duplicate_effects", "ran_again")]
        felt = {**found.get("felt", {}), **{k: v for k, v in found.items() if k.endswith(("_s", "_mb", "_ms"))}}
        said = (
            found.get("skipped") or found.get("error") or ", ".join(f"{name} {value}" for name, value in felt.items())
        )
        rows.append(
            f"{one.name:<20} {one.kind:<10} {one.seconds:6.1f}  {one.what:<7}  "
            f"{counts[0]:>4} {counts[1]:>7} {counts[2]:>11} {counts[3]:>5}  {str(said).splitlines()[0][:240]}"
        )
        if one.what == "FAILED":
            rows.append(
                f"{'':<20} {found.get('violations', '')} {found.get('unfelt', '')} {found.get('unexpected', '')}"
            )
    failed = sum(one.what == "FAILED" for one in ended)
    verdict = f"{failed} of {len(ended)} scenarios failed" if failed else f"all {len(ended)} scenarios passed"
    return "\n".join([*rows, f"{verdict} in {sum(one.seconds for one in ended):.0f} s"])


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__.splitlines()[0])
    parser.add_argument("--scenarios", default="all", help=f"all, ci, or names: {', '.join(one.name for one in ALL)}")
    parser.add_argument("--seconds", type=float, help="how long all of it may take; faults become fewer and shorter")
    parser.add_argument("--database", choices=["sqlite", "postgresql"], help="instead of each scenario's own")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--keep", type=Path, help="a folder for logs and data")
    asked = parser.parse_args()
    names = [one.name for one in {"all": ALL, "ci": CI}.get(asked.scenarios, ())] or asked.scenarios.split(",")
    unknown = set(names) - {one.name for one in ALL}
    if unknown:
        parser.error(f"no such scenario: {', '.join(sorted(unknown))}")
    plan = [
        (one, kind)
        for one in ALL
        if one.name in names
        for kind in ((asked.database,) if asked.database in one.possible else one.databases)
    ]
    whole = sum(one.seconds for one, _ in plan)
    scale = min(1.0, asked.seconds / whole) if asked.seconds else 1.0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    ended = [play(one, kind, seed=asked.seed, scale=scale, keep=asked.keep) for one, kind in plan]
    print(f"\n{table(ended)}", file=sys.stderr, flush=True)
    return int(any(one.what == "FAILED" for one in ended))


if __name__ == "__main__":
    sys.exit(main())
