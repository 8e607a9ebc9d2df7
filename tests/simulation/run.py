"""`python -m tests.simulation.run --schedules 200000 --seed 0`: more schedules than a test has time for.

Prints one JSON line: how many a second, what states jobs ended in, and by name what broke, with the first seed each.
Exits 1 when something broke. `--seed N --schedules 1 --moves` shows every move of one schedule.
"""

import argparse
import json
import sys
from collections import Counter

from inference.clock import monotonic_s
from tests.simulation.choices import Dice
from tests.simulation.world import schedule


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.run")
    parser.add_argument("--schedules", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--moves", action="store_true")
    asked = parser.parse_args()
    broken: dict[str, list[object]] = {}
    states: Counter[str] = Counter()
    began = monotonic_s()
    for seed in range(asked.seed, asked.seed + asked.schedules):
        world = schedule(Dice(seed))
        states.update(row.state.value for row in world.store.rows.values())
        for name, text in world.judge():
            broken.setdefault(name, [seed, text])
        for move in world.store.moves.seen if asked.moves else ():
            print(move)
    rate = asked.schedules / (monotonic_s() - began)
    print(json.dumps({"schedules": asked.schedules, "per_s": round(rate), "ended": states, "broken": broken}))
    return int(bool(broken))


if __name__ == "__main__":
    sys.exit(main())
