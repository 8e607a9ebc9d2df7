"""Small worlds, of which every interleaving is tried: a few workers of a few steps, and what happens to them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from inference.jobs.model import FINAL
from tests.simulation.choices import Path, every_path
from tests.simulation.clients import Client
from tests.simulation.workers import LEASE_S, ROWS, Crash, Slot
from tests.simulation.world import Choices, World


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """`workers`: how many steps each has. `events`: scripts, each in its order, beside one another.

    `lost_answers`: how many answers of the database may be lost. `is_ahead`: whether workers claim ahead.
    """

    name: str
    jobs: int
    workers: tuple[int, ...]
    events: tuple[tuple[str, ...], ...]
    lost_answers: int = 0
    is_ahead: bool = False


CASES = (
    Case(
        name="an answer is lost while the job is cancelled, reaped and queued again",
        jobs=1,
        workers=(7,),
        events=(("cancel", "lapse", "renew", "requeue"),),
        lost_answers=1,
    ),
    Case(name="two workers and a lapse", jobs=1, workers=(5, 4), events=(("lapse", "renew"),)),
    Case(
        name="what was claimed ahead is reaped, and claimed by another",
        jobs=4,
        workers=(11, 2),
        events=(("lapse", "renew"),),
        is_ahead=True,
    ),
    Case(name="cancel, retry and finish", jobs=1, workers=(6,), events=(("cancel", "retry"), ("lapse", "renew"))),
    Case(name="a worker dies anywhere", jobs=2, workers=(5, 4), events=(("kill", "reap"),), lost_answers=1),
    Case(name="time is over anywhere", jobs=1, workers=(5,), events=(("late",), ("expire", "reap"), ("cancel",))),
)


class CaseWorld(World):
    """One order of a case's steps. The first worker is the one that is killed."""

    case: Case

    def __init__(self, choices: Choices) -> None:
        super().__init__(choices)
        self.order = choices.pick
        self.pick = lambda n: 0
        self.answers_to_lose = self.case.lost_answers

    def fault(self, n: int) -> bool:
        """Of the faults only lost answers, told apart by how often they come."""
        if self.is_calm or n not in (10, 12) or not self.answers_to_lose or not self.order(2):
            return False
        self.answers_to_lose -= 1
        return True

    def pipelines(self) -> bool:
        return self.case.is_ahead

    def rows_wanted(self) -> int:
        return ROWS

    def stops(self) -> bool:
        return False

    def populate(self) -> None:
        self.slots = [Slot(self, f"i{n}") for n in range(len(self.case.workers))]
        client = Client(self, "a", ["good"] * self.case.jobs, acts=0)
        self.clients = [client]
        client.submit_all()
        self.faults = 1

    def play(self, steps: int) -> None:
        for slot in self.slots:
            next(slot.steps)
        actors = [self._work(slot, steps) for slot, steps in zip(self.slots, self.case.workers, strict=True)]
        actors += [self._happen(events) for events in self.case.events]
        while actors:
            actor = actors[self.order(len(actors)) if len(actors) > 1 else 0]
            if next(actor):
                actors.remove(actor)

    def _work(self, slot: Slot, steps: int) -> Iterator[bool]:
        """True with the last step."""
        for left in range(steps - 1, -1, -1):
            if slot.process is None:
                yield True
                return
            try:
                next(slot.process.steps)
            except Crash:
                slot.die()
            yield not left

    def _happen(self, events: tuple[str, ...]) -> Iterator[bool]:
        for left, event in zip(range(len(events) - 1, -1, -1), events, strict=True):
            getattr(self, f"on_{event}")()
            yield not left

    @property
    def target(self) -> str:
        return next(iter(self.store.rows))

    def on_cancel(self) -> None:
        self._do(self.clients[0].cancel(self.target))

    def on_retry(self) -> None:
        self._do(self.clients[0].again(self.target, "retry", FINAL - {"completed"}))

    def on_requeue(self) -> None:
        self._do(self.clients[0].again(self.target, "requeue", FINAL))

    def _do(self, steps: Iterator[None]) -> None:
        for _ in steps:
            pass

    def on_lapse(self) -> None:
        self.now += LEASE_S
        self.reap()

    def on_renew(self) -> None:
        for slot in self.slots:
            if (life := slot.process) is not None:
                self.store.renew(life.by.instance_id, life.by.generation, lease_s=LEASE_S)

    def on_kill(self) -> None:
        self.slots[0].die()

    def on_reap(self) -> None:
        self.now += LEASE_S
        self.reap()
        self.store.promote()

    def on_late(self) -> None:
        for row in self.store.rows.values():
            row.deadline = self.now
        for line in self.client:
            if line["op"] == "submit":
                line["ends"][0].add("expired")

    def on_expire(self) -> None:
        self.store.expire()


def every_schedule(case: Case, kind: type[World] = World) -> Iterator[World]:
    """Every interleaving of the case, settled, in the world of `kind`."""
    name: Callable[..., type[World]] = type
    world_kind = name("Case", (CaseWorld, kind), {"case": case})
    for path in every_path():
        yield _play(world_kind, path)


def _play(kind: type[World], path: Path) -> World:
    world = kind(path)
    world.populate()
    world.play(0)
    world.settle()
    return world
