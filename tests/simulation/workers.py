"""A worker of the simulation: the drain's steps in the drain's order, an engine, and the parent that watches both.

Each `yield` is a place where anything else may happen. What decides is the product's own pure functions; what is
written here is the order of `inference/jobs/drain.py` and `workers/supervisor.py`.
"""

from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, TypeAlias

from inference.errors import EngineFailed, OutOfMemory, PenstockError, TimedOut
from inference.jobs.model import FINAL, Claim, Claimant, ClaimedJob, JobState, Moved, Outcome
from inference.jobs.retry import after_error
from inference.jobs.stopping import UnderWay, should_stop

if TYPE_CHECKING:
    from tests.simulation.world import World

Steps: TypeAlias = Generator[None, None, None]
ROWS = 2
LEASE_S = 15.0
ERRORS = {
    "fatal": EngineFailed("no"),
    "retry": OutOfMemory("no"),
    "flaky": OutOfMemory("no"),
    "hang": TimedOut("no"),
}


class Crash(Exception):
    """The engine process dies here and now."""


class Process:
    """One engine process: a life of an instance."""

    def __init__(self, world: "World", by: Claimant, pid: int) -> None:
        self.world, self.by, self.pid = world, by, pid
        self.unsure = self.is_for_cancel = False
        self.running: Sequence[ClaimedJob] = ()
        self.stop: str | None = None
        self.steps = self.drain()

    def drain(self) -> Steps:
        while True:
            claim = yield from self._claim()
            while claim.jobs or claim.expired_ids:
                if not claim.jobs:
                    claim = yield from self._claim()
                elif self.world.pipelines():
                    claim = yield from self._pipeline(claim.jobs)
                else:
                    outcomes = yield from self._run(claim.jobs)
                    claim = yield from self._finish(outcomes, max_rows=self.world.rows_wanted())
            yield

    def _claim(self) -> Generator[None, None, Claim]:
        world = self.world
        if self.unsure:
            world.store.disown(self.by)
            self.unsure = False
            yield
        is_lost = world.fault(12)
        claim = world.store.claim(self.by, max_rows=ROWS)
        yield
        if is_lost:
            self.unsure = True
            return Claim()
        return claim

    def _pipeline(self, jobs: Sequence[ClaimedJob]) -> Generator[None, None, Claim]:
        done: list[Outcome] = []
        while True:
            running, claiming = self._run(jobs), self._finish(done, max_rows=ROWS, is_ahead=True)
            done, ahead = yield from self._both(running, claiming)
            if ahead.jobs and (self.world.stops() or self._is_late(ahead.jobs)):
                yield from self._release(ahead.jobs)
                ahead = Claim()
            if not ahead.jobs:
                return (yield from self._finish(done, max_rows=self.world.rows_wanted()))
            jobs = ahead.jobs

    def _both(
        self, running: Generator[None, None, list[Outcome]], claiming: Generator[None, None, Claim]
    ) -> Generator[None, None, tuple[list[Outcome], Claim]]:
        """The engine's thread and the drain's."""
        outcomes: list[Outcome] | None = None
        claim: Claim | None = None
        while outcomes is None or claim is None:
            try:
                if claim is not None or (outcomes is None and self.world.pick(2)):
                    next(running)
                else:
                    next(claiming)
            except StopIteration as end:
                if isinstance(end.value, Claim):
                    claim = end.value
                else:
                    outcomes = end.value
            yield
        return outcomes, claim

    def _is_late(self, jobs: Sequence[ClaimedJob]) -> bool:
        return any(job.deadline is not None and job.deadline <= self.world.now for job in jobs)

    def _run(self, jobs: Sequence[ClaimedJob]) -> Generator[None, None, list[Outcome]]:
        outcomes = yield from self._call(jobs)
        if len(outcomes) < len(jobs):
            ended = {outcome.job.id for outcome in outcomes}
            yield from self._release([job for job in jobs if job.id not in ended])
        return outcomes

    def _call(self, jobs: Sequence[ClaimedJob]) -> Generator[None, None, list[Outcome]]:
        """One engine call, and its halves if it fails."""
        world, started_at = self.world, self.world.now
        self.running, self.stop = jobs, None
        kinds = {world.ran(job, self.pid) for job in jobs}
        yield
        if "poison" in kinds:
            raise Crash
        for _ in range(4 if "slow" in kinds and not world.is_calm else 0):
            yield
        while "hang" in kinds and self.stop is None:
            yield
        stop, self.running, self.stop = self.stop, (), None
        if stop == "cancel":
            return []
        if not any(world.is_bad(job) for job in jobs):
            return [self._done(job, started_at, len(jobs)) for job in jobs]
        if len(jobs) == 1:
            world.failed(jobs[0])
            return [self._failed(jobs[0], ERRORS[world.kind(jobs[0])], started_at)]
        middle = len(jobs) // 2
        first = yield from self._call(jobs[:middle])
        second = yield from self._call(jobs[middle:])
        return first + second

    def _done(self, job: ClaimedJob, started_at: float, size: int) -> Outcome:
        return Outcome(
            job=job,
            state=JobState.COMPLETED,
            started_at=started_at,
            ended_at=self.world.now,
            batch_size=size,
            result=b"of " + job.payload,
        )

    def _failed(self, job: ClaimedJob, error: PenstockError, started_at: float) -> Outcome:
        dice = self.world.pick(2) / 2
        following = after_error(error, attempt=job.attempt - job.crashes, max_attempts=job.max_attempts, dice=dice)
        return Outcome(
            job=job,
            state=following.state,
            started_at=started_at,
            ended_at=self.world.now,
            batch_size=1,
            error_code=error.code,
            delay_s=following.delay_s,
        )

    def _finish(
        self, outcomes: Sequence[Outcome], *, max_rows: int, is_ahead: bool = False
    ) -> Generator[None, None, Claim]:
        world = self.world
        if not outcomes and not max_rows:
            return Claim()
        while True:
            away = world.fault(10)
            if away and world.pick(2):
                self.unsure = True  # nothing was done
                yield
                continue
            wanted = 0 if self.unsure else max_rows
            moved, claim = world.store.finish(
                self.by, outcomes, max_rows=wanted, min_rows=ROWS if is_ahead else 1, is_ahead=is_ahead
            )
            yield
            if not away:
                break
            self.unsure = True  # it was done, and the answer was lost
        for outcome in outcomes:
            if self.tells(outcome, moved):
                world.put_hot(outcome.job, moved.get(outcome.job.id), outcome)
        if self.unsure:
            if is_ahead or not max_rows:
                return Claim()
            return (yield from self._claim())
        return claim

    def tells(self, outcome: Outcome, moved: dict[str, Moved]) -> bool:
        change = moved.get(outcome.job.id)
        return change is not None and change.state in FINAL

    def _release(self, jobs: Sequence[ClaimedJob]) -> Steps:
        if self.world.fault(8):
            self.unsure = True
        else:
            self.world.store.release(self.by, jobs)
        yield


class Slot:
    """An instance: its process, if it lives, and the parent that watches it."""

    def __init__(self, world: "World", instance_id: str) -> None:
        self.world, self.instance_id = world, instance_id
        self.process: Process | None = None
        self.unburied: list[Process] = []
        self.steps = self._parent()

    def step(self) -> None:
        """Of the process, which may die of it."""
        process = self.process
        if process is None:
            return
        if self.world.fault(24):
            self.world.faults += 1
            self.die()
            return
        try:
            next(process.steps)
        except Crash:
            self.die()

    def die(self) -> None:
        if self.process is not None:
            self.unburied.append(self.process)
            self.process = None

    def _parent(self) -> Steps:
        """A new process may begin before the parent has settled the affairs of the last one."""
        world = self.world
        while True:
            if self.process is None and (not self.unburied or world.pick(2)):
                self.process = world.start(self.instance_id)
            elif self.unburied:
                yield from self._bury(self.unburied.pop(0))
            elif self.process is not None:
                self._watch(self.process)
            yield

    def _bury(self, life: Process) -> Steps:
        world = self.world
        if world.fault(6):
            return  # the whole host died, and nobody tells
        if life.is_for_cancel:
            world.store.disown(life.by)
            yield
        world.store.end(life.by.instance_id, life.by.generation)
        yield
        world.reap()

    def _watch(self, life: Process) -> None:
        world = self.world
        what = world.pick(4)
        if what == 0:
            world.store.renew(life.by.instance_id, life.by.generation, lease_s=LEASE_S)
        elif what == 1 and life.running:
            self._heed(life, life.running)
        elif what == 2 and life.running and any(world.kind(job) == "hang" for job in life.running):
            if world.pick(2):
                life.stop = "overrun"
            else:
                self.die()

    def _heed(self, life: Process, jobs: Sequence[ClaimedJob]) -> None:
        """Cancellation of what is at the engine: ask it to stop, and if it will not listen end it."""
        rows = self.world.store.rows
        cancelled = sum(
            rows[job.id].cancel_requested_at is not None and rows[job.id].state is JobState.RUNNING for job in jobs
        )
        expected = 10.0 * self.world.pick(2)
        if should_stop(UnderWay(jobs=len(jobs), cancelled=cancelled, running_s=1.0, expected_s=expected)):
            if self.world.pick(2):
                life.stop = "cancel"
            else:
                life.is_for_cancel = True
                self.die()
