"""The reference store: what `JobStore` and `InstanceStore` promise, in memory, by the product's own pure functions.

It is what SQL is compared with (`tests/contract/test_job_state_machine.py`) and what the simulation runs on. The
conditions on which safety rests are methods of their own, so that a mutant can leave one out.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

from inference.access.model import Scope
from inference.errors import DeadlinePassed, IdempotencyMismatch, InstanceLost, JobNotFound, PenstockError, WrongState
from inference.jobs.again import wrong_state
from inference.jobs.choose import Candidate, choose
from inference.jobs.model import (
    FINAL,
    Accepted,
    Claim,
    Claimant,
    ClaimedJob,
    JobState,
    Moved,
    Outcome,
    Renewed,
    Selection,
    Submission,
)
from inference.jobs.ports import Move, Place
from inference.jobs.suspect import Verdict, judge
from inference.store.usage import ENDED
from tests.chaos.history import Event
from tests.simulation.rows import AttemptRow, Instance, Moves, Row, in_queue_order

PENDING, RUNNING, CANCELLED = JobState.PENDING, JobState.RUNNING, JobState.CANCELLED


class ModelStore:
    """Every method is one step: nothing comes between its parts."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.now_s = now
        self.rows: dict[str, Row] = {}
        self.results: dict[str, bytes] = {}
        self.attempts: list[AttemptRow] = []
        self.keys: dict[tuple[str, str], tuple[bytes, Accepted]] = {}
        self.usage: Counter[tuple[str, str]] = Counter()
        self.outbox: list[Event] = []
        self.instances: dict[str, Instance] = {}
        self.moves = Moves()
        self.on_cancelled: Callable[[Row], None] = lambda row: None

    # What safety rests on.

    def is_his(self, row: Row, by: Claimant, job: ClaimedJob) -> bool:
        """The fence: this attempt of this generation, still running, in the hands of this life of this instance."""
        return (
            row.generation == job.generation
            and row.attempt == job.attempt
            and row.state is RUNNING
            and row.instance_id == by.instance_id
            and row.instance_generation == by.generation
        )

    def is_alive(self, instance_id: str | None, generation: int | None) -> bool:
        found = self.instances.get(instance_id or "")
        return found is not None and found.generation == generation and found.lease_until > self.now_s()

    def candidates(self, by: Claimant) -> list[Row]:
        """All that a claim may look at, in order."""
        return in_queue_order(row for row in self.rows.values() if row.is_claimable)

    def known(self, submission: Submission) -> tuple[bytes, Accepted] | None:
        """What the submission's key was answered with, and for which body."""
        key = submission.idempotency_key
        return None if key is None else self.keys.get((submission.tenant_id, key))

    def is_lost(self, row: Row) -> bool:
        return row.state is RUNNING and not self.is_alive(row.instance_id, row.instance_generation)

    def may_expire(self, row: Row) -> bool:
        return row.state is PENDING

    def may_cancel(self, state: JobState) -> bool:
        return state not in FINAL or state is CANCELLED

    def is_cancelled_at_once(self, state: JobState) -> bool:
        return state is PENDING

    def end_of(self, row: Row, asked: JobState) -> JobState:
        """A cancellation comes before whatever became of the attempt."""
        return asked if row.cancel_requested_at is None else CANCELLED

    def uncharge(self, row: Row) -> None:
        row.attempt -= 1

    def drop_result(self, job_id: str) -> None:
        self.results.pop(job_id, None)

    def verdict(self, row: Row, mates: int) -> Verdict:
        """Of a job whose instance is lost."""
        return judge(
            attempt=row.attempt,
            shared=row.crashes,
            max_attempts=row.new.max_attempts,
            is_started=row.started_at is not None,
            mates=mates,
            batch_cap=row.batch_cap,
        )

    # Instances.

    def open(self, instance_id: str, service_id: str, *, pid: int, lease_s: float) -> int:
        """The generation that begins."""
        last = self.instances.get(instance_id)
        generation = last.generation + 1 if last else 1
        self.instances[instance_id] = Instance(service_id, generation, self.now_s() + lease_s, pid)
        return generation

    def renew(self, instance_id: str, generation: int, *, lease_s: float) -> bool:
        found = self.instances[instance_id]
        if found.generation != generation:
            return False
        found.lease_until = self.now_s() + lease_s
        return True

    def end(self, instance_id: str, generation: int) -> None:
        found = self.instances[instance_id]
        if found.generation == generation:
            found.generation += 1
            found.lease_until = 0.0

    # Jobs.

    def insert(self, submissions: Sequence[Submission]) -> list[Accepted | PenstockError]:
        return [self._insert(submission) for submission in submissions]

    def _insert(self, submission: Submission) -> Accepted | PenstockError:
        if known := self.known(submission):
            body_hash, first = known
            if body_hash != submission.body_hash:
                return IdempotencyMismatch("Another body.", idempotency_key=submission.idempotency_key)
            is_replay = first.job_ids != tuple(job.id for job in submission.jobs)
            return Accepted(job_ids=first.job_ids, created_at=first.created_at, is_replay=is_replay)
        for new in submission.jobs:
            if new.id not in self.rows:
                row = self.rows[new.id] = Row(new, new.priority, new.order_key, new.deadline)
                self.moves.note(row, None, self.now_s())
        answer = Accepted(job_ids=tuple(job.id for job in submission.jobs), created_at=submission.jobs[0].submitted_at)
        if submission.idempotency_key is not None:
            self.keys[submission.tenant_id, submission.idempotency_key] = submission.body_hash, answer
        return answer

    def claim(self, by: Claimant, *, max_rows: int, min_rows: int = 1, is_ahead: bool = False) -> Claim:
        if not self.is_alive(by.instance_id, by.generation):
            return Claim()
        now = self.now_s()
        found = [row for row in self.candidates(by) if row.new.service_id == by.service_id][: max_rows + 1]
        queue = [
            Candidate(
                id=row.new.id,
                bucket=row.new.bucket,
                rows=row.new.rows,
                batch_cap=row.batch_cap,
                is_late=row.deadline is not None and row.deadline <= now,
            )
            for row in found
        ]
        choice = choose(queue, max_rows=max_rows, min_rows=min_rows, is_ahead=is_ahead)
        late = tuple(job.id for job in choice.late)
        for job_id in late:
            self._expire(self.rows[job_id])
        taken = [self._take(self.rows[job.id], by, size=len(choice.taken), is_ahead=is_ahead) for job in choice.taken]
        return Claim(jobs=tuple(taken), is_full=choice.is_full, expired_ids=late)

    def _take(self, row: Row, by: Claimant, *, size: int, is_ahead: bool) -> ClaimedJob:
        before, now = row.state, self.now_s()
        row.state = RUNNING
        row.attempt += 1
        row.instance_id, row.instance_generation = by.instance_id, by.generation
        row.claimed_at, row.started_at = now, None if is_ahead else now
        row.worker, row.model_version, row.batch_size = by.worker, by.model_version, size
        self._moved(row, before)
        return row.claimed()

    def finish(
        self,
        by: Claimant,
        outcomes: Sequence[Outcome],
        *,
        max_rows: int = 0,
        min_rows: int = 1,
        is_ahead: bool = False,
    ) -> tuple[dict[str, Moved], Claim]:
        moved = {}
        for outcome in outcomes:
            row = self.rows.get(outcome.job.id)
            if row is not None and self.is_his(row, by, outcome.job):
                moved[row.new.id] = self._settle(row, by, outcome)
        claim = self.claim(by, max_rows=max_rows, min_rows=min_rows, is_ahead=is_ahead) if max_rows else Claim()
        return moved, claim

    def _settle(self, row: Row, by: Claimant, outcome: Outcome) -> Moved:
        before, now = row.state, self.now_s()
        row.state = self.end_of(row, outcome.state)
        row.completed_at = now if row.state in FINAL else None
        row.not_before = now + outcome.delay_s if outcome.delay_s > 0 else None
        row.started_at, row.batch_size, row.error_code = outcome.started_at, outcome.batch_size, outcome.error_code
        if row.state is JobState.COMPLETED:
            self.results[row.new.id] = outcome.result or b"null"
        word = "retried" if row.state is PENDING else row.state.value
        self._attempted(row, outcome.job.generation, outcome.job.attempt, by.instance_id, word, outcome.error_code)
        if row.state in ENDED:
            self.usage[row.new.tenant_id, by.service_id] += 1
        self._moved(row, before)
        return Moved(state=row.state, completed_at=row.completed_at)

    def release(self, by: Claimant, jobs: Sequence[ClaimedJob]) -> dict[str, JobState]:
        found: dict[str, JobState] = {}
        for job in jobs:
            row = self.rows.get(job.id)
            if row is not None and self.is_his(row, by, job):
                found[job.id] = self._give_back(row)
        return found

    def _give_back(self, row: Row) -> JobState:
        before = row.state
        row.state = self.end_of(row, PENDING)
        row.completed_at = self.now_s() if row.state is CANCELLED else None
        self.uncharge(row)
        row.instance_id = row.instance_generation = row.claimed_at = row.started_at = None
        self._moved(row, before)
        return row.state

    def disown(self, by: Claimant) -> dict[str, JobState]:
        held = [
            row.claimed()
            for row in self.rows.values()
            if row.state is RUNNING and (row.instance_id, row.instance_generation) == (by.instance_id, by.generation)
        ]
        return self.release(by, held)

    def cancel(self, scope: Scope, job_id: str) -> JobState:
        row = self._row(scope, job_id)
        before = row.state
        if not self.may_cancel(before):
            raise WrongState(f"Task {job_id} is {before}.", state=before)
        if before is CANCELLED or (before is RUNNING and row.cancel_requested_at is not None):
            return before
        if before is RUNNING and not self.is_cancelled_at_once(before):
            row.cancel_requested_at = self.now_s()
        else:
            row.state, row.completed_at = CANCELLED, self.now_s()
        self._moved(row, before)
        return row.state

    def cancel_many(self, scope: Scope, which: Selection) -> Iterator[dict[str, JobState]]:
        """By service, state, priority and ids."""
        wanted = [
            row.id
            for row in self.rows.values()
            if (row.new.tenant_id, row.new.service_id) == (scope.tenant_id, which.service_id)
            and (row.state is PENDING or (row.state is RUNNING and row.cancel_requested_at is None))
            and which.state in (None, row.state)
            and which.priority in (None, row.priority)
            and (which.job_ids is None or row.id in which.job_ids)
        ]
        yield {job_id: self.cancel(scope, job_id) for job_id in wanted}

    def again(self, scope: Scope, job_id: str, *, action: str, allowed: Collection[JobState], place: Place) -> Renewed:
        row = self._row(scope, job_id)
        before, now = row.state, self.now_s()
        if before not in allowed:
            raise wrong_state(job_id, before, allowed, action=action)
        deadline = None if row.deadline is None or row.deadline <= now else row.deadline
        fresh = Row(row.new, row.priority, place(now, row.priority, deadline), deadline, generation=row.generation + 1)
        self.rows[job_id] = fresh
        self.drop_result(job_id)
        self._moved(fresh, before)
        return Renewed(generation=fresh.generation, service_id=row.new.service_id, priority=row.priority)

    def prioritise(self, scope: Scope, job_id: str, *, priority: int, move: Move) -> None:
        row = self._row(scope, job_id)
        if row.state is not PENDING:
            raise wrong_state(job_id, row.state, [PENDING], action="prioritise")
        row.order_key = move(row.order_key, row.priority, row.deadline, row.new.submitted_at)
        row.priority = priority
        self._moved(row, PENDING)

    def reap(self, *, limit: int = 500) -> list[tuple[str, JobState]]:
        lost = [row for row in self.rows.values() if self.is_lost(row)][:limit]
        return [(row.id, self._reap(row)) for row in lost]

    def _reap(self, row: Row) -> JobState:
        before = row.state
        verdict = self.verdict(row, row.batch_size or 1)
        if self.end_of(row, verdict.state) is CANCELLED:
            verdict = Verdict(state=CANCELLED, batch_cap=0, is_attempt=row.started_at is not None)
        if verdict.is_attempt:
            self._attempted(row, row.generation, row.attempt, row.instance_id, "lost", InstanceLost.code)
            row.crashes += verdict.is_shared
        else:
            row.attempt -= 1
        row.state, row.batch_cap, row.error_code = verdict.state, verdict.batch_cap, InstanceLost.code
        row.instance_id = row.instance_generation = None
        row.completed_at = None if verdict.state is PENDING else self.now_s()
        self._moved(row, before)
        return verdict.state

    def promote(self) -> list[str]:
        now, found = self.now_s(), set()
        for row in self.rows.values():
            if row.state is PENDING and row.not_before is not None and row.not_before <= now:
                row.not_before = None
                found.add(row.new.service_id)
                self._moved(row, PENDING)
        return sorted(found)

    def expire(self) -> list[str]:
        now = self.now_s()
        late = [
            row
            for row in self.rows.values()
            if self.may_expire(row) and row.deadline is not None and row.deadline <= now
        ]
        for row in late:
            self._expire(row)
        return [row.id for row in late]

    def _expire(self, row: Row) -> None:
        before = row.state
        row.state, row.completed_at, row.error_code = JobState.EXPIRED, self.now_s(), DeadlinePassed.code
        self._moved(row, before)

    # What every change leaves behind.

    def _row(self, scope: Scope, job_id: str) -> Row:
        row = self.rows.get(job_id)
        if row is None or row.new.tenant_id != scope.tenant_id:
            raise JobNotFound(f"There is no task {job_id}.", id=job_id)
        return row

    def _attempted(
        self, row: Row, generation: int, attempt: int, instance_id: str | None, outcome: str, code: str | None
    ) -> None:
        self.attempts.append(AttemptRow(row.new.id, generation, attempt, instance_id, outcome, code, row.batch_size))

    def _moved(self, row: Row, before: JobState) -> None:
        """As the triggers do: on the move itself, whoever makes it."""
        if before is RUNNING and row.state is CANCELLED:
            self.on_cancelled(row)
        self.moves.note(row, before, self.now_s())
        if row.new.callback_url is None or row.state is before:
            return
        if row.state in FINAL and row.new.callback_events != 2:
            self._tell(row, "finished")
        elif row.state is RUNNING and row.new.callback_events >= 2:
            self._tell(row, "started")

    def _tell(self, row: Row, event: str) -> None:
        event_id = f"{row.new.id}.{row.generation}.{event}"
        if any(known.id == event_id for known in self.outbox):
            return
        self.outbox.append(
            Event(
                id=event_id,
                job_id=row.new.id,
                generation=row.generation,
                event=event,
                job_state=row.state.value,
                state="pending",
            )
        )

    def visible(self) -> dict[str, Any]:
        """All that can be seen, times apart, for comparison with SQL."""
        return {
            row.id: (
                row.state.value,
                row.generation,
                row.attempt,
                row.crashes,
                row.batch_cap,
                row.instance_id,
                row.instance_generation,
                row.not_before is not None,
                row.started_at is not None,
                row.completed_at is not None,
                row.cancel_requested_at is not None,
                row.batch_size,
                row.error_code,
                row.priority,
                row.order_key,
                row.deadline is not None,
            )
            for row in self.rows.values()
        }
