"""The world of one schedule: a store, a clock, who acts on them, and what is to be said about it at the end.

Everything is decided by `pick`, so a schedule is its choices. Faults happen until the world is calm; then it settles:
whatever is still under way must come to an end.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any, Protocol

from inference.jobs.model import Claimant, ClaimedJob, Moved, Outcome
from tests.chaos.checks import CHECKS
from tests.chaos.history import Effect, History, Job, Life
from tests.simulation.clients import SERVICE, Client
from tests.simulation.rows import Row
from tests.simulation.store import ModelStore
from tests.simulation.workers import ERRORS, LEASE_S, ROWS, Process, Slot

HOT_S = 60.0
JUMPS_S = (0.4, 2.0, 10.0, 16.0, 16.0, 90.0, -20.0)
KINDS = ("good", "good", "good", "good", "flaky", "poison", "retry", "fatal", "hang")
ENDS = {
    "good": {"completed"},
    "slow": {"completed"},
    "flaky": {"completed"},
    "poison": {"dead"},
    "retry": {"dead"},
    "fatal": {"failed"},
    "hang": {"dead", "failed"},
}
SETTLE_ROUNDS = 60
Hot = tuple[int, Any, bytes | None]


class Choices(Protocol):
    def pick(self, n: int) -> int: ...


class World:
    """`store`: the store that is played on, `process`: the worker's drain; a mutant brings its own."""

    store_kind: type[ModelStore] = ModelStore
    process_kind: type[Process] = Process

    def __init__(self, choices: Choices) -> None:
        self.pick = choices.pick
        self.now = 1000.0
        self.store = self.store_kind(lambda: self.now)
        self.store.on_cancelled = self.see_cancelled
        self.client: list[dict[str, Any]] = []
        self.effects: list[Effect] = []
        self.lives: list[Life] = []
        self.hot: dict[str, tuple[float, Hot | None]] = {}
        self.found: list[tuple[str, str]] = []
        self.faults = 0
        self.has_faults = True
        self.is_calm = False
        self.is_lapsing = False
        self.slots: list[Slot] = []
        self.clients: list[Client] = []
        self._counter = 0
        self._failed: Counter[str] = Counter()

    def fault(self, n: int) -> bool:
        """Whether something goes wrong here: once in `n`, as long as the world is not calm."""
        return self.has_faults and not self.is_calm and self.pick(n) == 0

    def pipelines(self) -> bool:
        """Whether a worker claims the next batch while this one runs."""
        return self.pick(2) == 1

    def rows_wanted(self) -> int:
        """How many rows a worker claims with a finish: none when its time is over."""
        return self.pick(2) * ROWS

    def stops(self) -> bool:
        """Whether a worker is asked to stop, here."""
        return self.pick(4) == 0

    def count(self) -> int:
        self._counter += 1
        return self._counter

    def new_id(self, prefix: str) -> str:
        return f"{prefix}{self.count():04}"

    def kind(self, job: ClaimedJob) -> str:
        return job.payload.decode().partition(":")[2]

    def ran(self, job: ClaimedJob, pid: int) -> str:
        """The engine has the job now; what kind it is."""
        value = job.payload.decode()
        self.effects.append(Effect(value=value, pid=pid))
        return value.partition(":")[2]

    def is_bad(self, job: ClaimedJob) -> bool:
        """Whether its call fails. FLAKY needs all of its budget for that, less one attempt."""
        kind = self.kind(job)
        return kind in ERRORS and (kind != "flaky" or self._failed[job.id] < job.max_attempts - 1)

    def failed(self, job: ClaimedJob) -> None:
        self._failed[job.id] += 1

    def start(self, instance_id: str) -> Process:
        pid = self.count()
        generation = self.store.open(instance_id, SERVICE, pid=pid, lease_s=LEASE_S)
        self.lives.append(Life(instance_id=instance_id, generation=generation, pid=pid))
        by = Claimant(service_id=SERVICE, instance_id=instance_id, generation=generation, worker="w", model_version="1")
        return self.process_kind(self, by, pid)

    # Hot copies: `set nx px` and a tombstone, as in `inference/redisio/hot.py`.

    def put_hot(self, job: ClaimedJob, change: Moved | None, outcome: Outcome) -> None:
        """Nobody is taken to stand still for as long as a tombstone lives between its commit and this."""
        state = change.state if change is not None else outcome.state
        at = change.completed_at if change is not None else self.now
        if (at or 0.0) + HOT_S <= self.now:
            return
        known = self.hot.get(job.id)
        if known is None or known[0] <= self.now:
            result = outcome.result if state == "completed" else None
            self.hot[job.id] = self.now + HOT_S, (job.generation, state, result)

    def get_hot(self, job_id: str) -> Hot | None:
        known = self.hot.get(job_id)
        return None if known is None or known[0] <= self.now else known[1]

    def forget_hot(self, job_id: str) -> None:
        self.hot[job_id] = self.now + HOT_S, None

    # What is done from outside.

    def see_cancelled(self, row: Row) -> None:
        """Nobody is told so while the engine that had the job still has it, unless its lease is over."""
        for life in (slot.process for slot in self.slots if slot.process is not None and slot.process.running):
            is_at_it = any((job.id, job.generation) == (row.id, row.generation) for job in life.running)
            if is_at_it and self.store.is_alive(life.by.instance_id, life.by.generation) and self.has(life, row):
                self.found.append(("cancelled_too_early", f"{row.id} is cancelled, and process {life.pid} runs it"))

    def has(self, life: Process, row: Row) -> bool:
        """Whether this life was the last to claim the job."""
        last = next(move for move in reversed(self.store.moves.seen) if move.job_id == row.id)
        return (last.instance_id, last.instance_generation) == (life.by.instance_id, life.by.generation)

    def reap(self) -> None:
        """And sees to it that nobody is robbed who still has his lease."""
        held = {
            row.id: (row.instance_id, row.instance_generation)
            for row in self.store.rows.values()
            if row.state == "running"
        }
        for job_id, _ in self.store.reap():
            instance_id, generation = held.get(job_id, (None, None))
            instance = self.store.instances.get(instance_id or "")
            if instance and instance.generation == generation and instance.lease_until > self.now:
                self.found.append(("robbed", f"{job_id} was taken from {instance_id}, which had its lease"))

    def sweep(self) -> None:
        (self.reap, self.store.promote, self.store.expire)[self.pick(3)]()

    def jump(self) -> None:
        by = JUMPS_S[self.pick(len(JUMPS_S))]
        if by >= LEASE_S / 2:
            self.faults += 1
        self.now += by

    def lapse(self) -> None:
        """Nobody renewed in time, and that is noticed; then some renew, as if nothing had been."""
        self.now += LEASE_S
        self.faults += 1
        self.reap()
        for slot in self.slots:
            if (life := slot.process) is not None and self.pick(4):
                self.store.renew(life.by.instance_id, life.by.generation, lease_s=LEASE_S)

    def right_ends(self, value: str, *, has_deadline: bool) -> set[str]:
        """By its kind; `judge` adds what faults excuse."""
        return ENDS[value.partition(":")[2]] | ({"expired"} if has_deadline else set())

    # A schedule.

    def populate(self) -> None:
        """Draws who is there. One world in four is about leases that lapse under work that goes on."""
        pick = self.pick
        self.is_lapsing = pick(4) == 0
        if self.is_lapsing:
            self.slots = [Slot(self, f"i{n}") for n in range(1 + pick(2))]
            self.clients = [Client(self, "a", ["slow"] * (2 + pick(4)), acts=8)]
            self.clients[0].submit_all()
            return
        self.has_faults = pick(4) > 0
        self.slots = [Slot(self, f"i{n}") for n in range(1 + pick(2))]
        for name in "ab"[: 1 + pick(2)]:
            kinds = [KINDS[pick(len(KINDS))] for _ in range(1 + pick(3))]
            self.clients.append(Client(self, name, kinds, acts=pick(6)))

    def play(self, steps: int) -> None:
        """So many steps, of anybody, in any order."""
        pick, slots, clients = self.pick, self.slots, self.clients
        for slot in slots:
            next(slot.steps)
        for _ in range(steps):
            what = pick(16)
            if what < 8:
                slots[pick(len(slots))].step()
            elif what < 10:
                next(slots[pick(len(slots))].steps)
            elif what < 13:
                client = clients[pick(len(clients))]
                next(client.steps, None)
            elif what < 15:
                self.sweep()
            elif self.is_lapsing:
                self.lapse()
            elif self.has_faults:
                self.jump()

    def settle(self) -> None:
        """No more faults: everybody works on, time goes by, and all must end."""
        self.is_calm = True
        for client in self.clients:
            for _ in client.steps:
                pass
        for _ in range(SETTLE_ROUNDS):
            if all(row.is_final for row in self.store.rows.values()):
                return
            for slot in self.slots:
                for _ in range(4):
                    next(slot.steps)
                    for _ in range(4):
                        slot.step()
                life = slot.process
                if life is not None:
                    if life.running:
                        life.stop = "overrun"
                    self.store.renew(life.by.instance_id, life.by.generation, lease_s=LEASE_S)
            self.now += 10.0
            self.reap()
            self.store.promote()
            self.store.expire()

    def history(self) -> History:
        """For the checker, as if read from a database and the logs."""
        store = self.store
        return History(
            jobs=[
                Job(
                    id=row.new.id,
                    tenant_id=row.new.tenant_id,
                    service_id=row.new.service_id,
                    state=row.state,
                    generation=row.generation,
                    attempt=row.attempt,
                    max_attempts=row.new.max_attempts,
                    value=row.new.payload.decode(),
                    callback_url=row.new.callback_url,
                    callback_events=row.new.callback_events,
                )
                for row in store.rows.values()
            ],
            attempts=store.attempts,  # type: ignore[arg-type] # the same fields
            results=store.results,
            outbox=store.outbox,
            usage=store.usage,
            moves=store.moves.seen,
            lives=self.lives,
            effects=self.effects,
            client=self.client,
        )

    def judge(self) -> list[tuple[str, str]]:
        """Name and text of all that broke."""
        history = self.history()
        if self.faults:
            for line in history.lines("submit"):
                line["ends"][0].add("dead")
        return [*self.found, *(broken for check in CHECKS for broken in check(history))]


def schedule(choices: Choices, *, kind: Callable[[Choices], World] = World, steps: int = 70) -> World:
    """One whole life of a world."""
    world = kind(choices)
    world.populate()
    world.play(steps)
    world.settle()
    return world
