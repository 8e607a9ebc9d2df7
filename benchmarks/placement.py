"""`bench placement`: how long a plan takes, in one process, without a database."""

import gc
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import machine, tables
from benchmarks.percentiles import quantile
from inference.resources.fit import Card, Holding, Need, Room, Size, Where
from inference.resources.plan import Limits, Placement, Plan, Planner, plan

NODES, CARDS, MODELS = 125, 8, 5_000
ARRIVALS = 200
GIB = 1 << 30
PLAN_MS, ARRIVAL_MS = 50.0, 1.0
PLENTY = Limits(evictions=1_000_000)


def run(*, rounds: int) -> dict[str, Any]:
    """Milliseconds of CPU, the middle of so many rounds, for 5,000 models on 1,000 cards of 80 GiB.

    Three cases: all cards empty; full, with everybody where they are and some waiting; and single arrivals of a high
    priority on full cards, most of which must put others out.
    """
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as name:
        report: dict[str, Any] = {"benchmark": "placement", "cards": NODES * CARDS, "models": MODELS}
        report["machine"] = machine.describe(Path(name))
    rooms, random_ = _rooms(), random.Random(1)
    roomy, crowded = _needs(random_, (4, 25)), _needs(random_, (8, 33))
    full = plan(rooms, [], crowded)
    held = _holdings(full, random_)
    waiting = [need for need in crowded if need.id in full.refused]
    report["plans"] = {
        "empty cards, all fit": _plans(rooms, [], roomy, rounds),
        "empty cards, too few": _plans(rooms, [], crowded, rounds),
        "full cards, nothing changes": _plans(rooms, held, waiting, rounds),
        "one node fails": _plans(rooms[1:], *_after_failure(rooms[0], held, crowded), rounds),
    }
    report["arrivals"] = _arrivals(rooms, held, random_)
    slowest = max(row["ms"] for row in report["plans"].values())
    report["figures"] = [
        _figure("one plan of 5,000 models on 1,000 cards, ms", slowest, PLAN_MS),
        _figure("one arrival, median ms", report["arrivals"]["p50_ms"], ARRIVAL_MS),
        _figure("one arrival, 99 % ms", report["arrivals"]["p99_ms"], ARRIVAL_MS),
    ]
    return report


def _figure(name: str, measured: float, wanted: float) -> dict[str, Any]:
    return {"name": name, "measured": measured, "sign": "<", "wanted": wanted, "is_reached": measured < wanted}


def _rooms() -> list[Room]:
    return [
        Room(
            id=f"n{node:03}",
            cpu_milli=128_000,
            memory_bytes=2_048 * GIB,
            cards=tuple(Card(id=f"GPU-{node:03}-{card}", memory_bytes=80 * GIB) for card in range(CARDS)),
            can_cuda=True,
        )
        for node in range(NODES)
    ]


def _needs(random_: random.Random, gib: tuple[int, int]) -> list[Need]:
    """A model has one replica or two; one in fifty wants a card for itself."""
    return [
        Need(
            id=f"r{number}",
            group=f"s{number * 2 // 3}",
            size=Size(
                card_bytes=random_.randrange(*gib) * GIB,
                cpu_milli=500,
                memory_bytes=4 * GIB,
                is_whole=number % 50 == 0,
            ),
            where=Where.CARD,
            priority=random_.randrange(1, 8),
            born=random_.random(),
        )
        for number in range(MODELS)
    ]


def _holdings(found: Plan, random_: random.Random) -> list[Holding]:
    return [
        Holding(
            id=name,
            group=placed.need.group,
            node_id=placed.holding.node_id,
            device=placed.holding.device,
            size=placed.size,
            priority=placed.need.priority,
            reload_s=random_.uniform(1, 60),
        )
        for name, placed in found.placed.items()
    ]


def _after_failure(room: Room, held: Sequence[Holding], needs: Sequence[Need]) -> tuple[list[Holding], list[Need]]:
    """Who is left, and who must find another place: what was on that node."""
    lost = {holding.id for holding in held if holding.node_id == room.id}
    return [holding for holding in held if holding.id not in lost], [need for need in needs if need.id in lost]


def _plans(rooms: Sequence[Room], held: Sequence[Holding], needs: Sequence[Need], rounds: int) -> dict[str, Any]:
    took, found = _times(lambda: plan(rooms, held, needs, PLENTY), rounds)
    evicted = sum(len(placed.victims) for placed in found.placed.values())
    return {"ms": quantile(took, 0.5), "placed": len(found.placed), "refused": len(found.refused), "evicted": evicted}


def _times(call: Callable[[], Plan], rounds: int) -> tuple[list[float], Plan]:
    took, found = [], call()
    for _ in range(rounds):
        gc.collect()
        began = time.process_time()
        found = call()
        took.append(round((time.process_time() - began) * 1000, 3))
    return sorted(took), found


def _arrivals(rooms: Sequence[Room], held: Sequence[Holding], random_: random.Random) -> dict[str, Any]:
    """One after the other on a board that stands; the first, which makes its index of victims, is told apart."""
    planner = Planner(rooms, held, PLENTY)
    took, sets = [], Counter[int]()
    for number in range(ARRIVALS + 1):
        need = Need(
            id=f"a{number}",
            group=f"a{number}",
            size=Size(card_bytes=random_.randrange(10, 80) * GIB, cpu_milli=500, memory_bytes=4 * GIB),
            where=Where.CARD,
            priority=9,
        )
        began = time.process_time()
        placed = planner.place(need)
        took.append(round((time.process_time() - began) * 1000, 3))
        sets[len(placed.victims) if isinstance(placed, Placement) else -1] += 1
    ordered = sorted(took[1:])
    return {
        "arrivals": ARRIVALS,
        "first_ms": took[0],
        "p50_ms": quantile(ordered, 0.5),
        "p99_ms": quantile(ordered, 0.99),
        "victims": {str(size): count for size, count in sorted(sets.items())},
    }


def show(report: dict[str, Any], console: Console) -> None:
    """The machine, a table of the plans, one line on the arrivals, and whether the figures are reached."""
    tables.show_machine(report["machine"], console)
    table = Table(title=f"a plan of {report['models']:,} models on {report['cards']:,} cards")
    for title in ("", "CPU ms", "placed", "without room", "put out"):
        table.add_column(title, justify="right" if title else "left")
    for title, row in report["plans"].items():
        table.add_row(title, f"{row['ms']:.1f}", *(f"{row[name]:,}" for name in ("placed", "refused", "evicted")))
    console.print(table)
    seen = report["arrivals"]
    sets = ", ".join(f"{count} with {size}" for size, count in seen["victims"].items())
    console.print(
        f"{seen['arrivals']} arrivals on full cards: first {seen['first_ms']:.2f} ms, p50 {seen['p50_ms']:.2f}, "
        f"p99 {seen['p99_ms']:.2f}; victims: {sets}",
        highlight=False,
    )
    tables.show_figures(report["figures"], console)
