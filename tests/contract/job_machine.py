"""A state machine that does the same to a SQL store and to the reference store, and compares all that can be seen."""

import time
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import sqlalchemy as sa
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from inference.access.model import Scope
from inference.errors import PenstockError
from inference.ids import DEFAULT_TENANT
from inference.jobs.again import RETRIED
from inference.jobs.model import (
    FINAL,
    Accepted,
    Claim,
    Claimant,
    ClaimedJob,
    JobState,
    Moved,
    Outcome,
    Selection,
    Submission,
)
from inference.store import tables
from inference.store.database import Database
from inference.store.instances import SqlInstances
from inference.store.jobs import SqlJobs
from tests.contract import jobs
from tests.simulation.store import ModelStore

LEASE_S = 1000.0
JUMPS_S = (130.0, 450.0, 1700.0)
OURS, THEIRS = Scope(DEFAULT_TENANT), Scope("somebody else")
EMPTIED = ("jobs", "payloads", "results", "attempts", "submissions", "outbox", "usage", "instances")
JOB = (
    "id, state, generation, attempt, crashes, batch_cap, instance_id, instance_generation, "
    "not_before IS NOT NULL AS a, started_at IS NOT NULL AS b, completed_at IS NOT NULL AS c, "
    "cancel_requested_at IS NOT NULL AS d, batch_size, error_code, priority, order_key, deadline IS NOT NULL AS e "
    "FROM jobs"
)
ENDS = (JobState.PENDING, JobState.PENDING, JobState.COMPLETED, JobState.COMPLETED, JobState.FAILED, JobState.DEAD)
scopes = st.sampled_from([OURS, OURS, OURS, THEIRS])
keys = st.integers(0, 5).map(float)
SENT = st.fixed_dictionaries(
    {
        "n": st.integers(1, 3),
        "key": st.sampled_from([None, None, "k", "l"]),
        "body": st.sampled_from([b"1", b"1", b"2"]),
        "order_key": keys,
        "rows": st.integers(1, 3),
        "bucket": st.sampled_from("aaab"),
        "most": st.sampled_from([3, 3, 2, 1]),
        "deadline_s": st.sampled_from([None, None, 290.0, 900.0]),
        "events": st.sampled_from([None, 1, 2, 3]),
    }
)
OFTEN = {
    "submit": 3,
    "claim": 6,
    "finish": 5,
    "release": 1,
    "disown": 1,
    "cancel": 2,
    "cancel_many": 1,
    "again": 2,
    "prioritise": 1,
    "open": 1,
    "renew": 2,
    "end": 1,
    "jump": 2,
    "sweep": 2,
}
"""What is done, and how often. One rule draws from it: Hypothesis leaves out whole rules at times, and then little
happens to a job."""


class JobMachine(RuleBasedStateMachine):
    """Time goes on by jumps alone, of minutes: the real seconds of a test decide nothing.

    Claimants and claimed jobs are kept for good, so that what is out of date is tried again and again.
    """

    database: ClassVar[Database]
    model_kind: ClassVar[type[ModelStore]] = ModelStore

    @initialize()
    def begin(self) -> None:
        self.now = 1_000_000.0
        self.sql, self.instances = SqlJobs(self.database), SqlInstances(self.database)
        self.model = self.model_kind(lambda: self.now)
        self.claimants: list[Claimant] = []
        self.held: list[tuple[Claimant, ClaimedJob]] = []
        self.count = 0
        self._open(0)
        self._open(1)
        for _ in range(3):
            self._submit(n=1, key=None, body=b"", order_key=1.0, rows=1, bucket="a", most=3, deadline_s=None, events=1)

    def teardown(self) -> None:
        with self.database.write() as connection:
            for name in EMPTIED:
                connection.execute(sa.text(f"DELETE FROM {name}"))

    @rule(data=st.data())
    def step(self, data: st.DataObject) -> None:
        what = data.draw(st.sampled_from([name for name, n in OFTEN.items() for _ in range(n)]), label="step")
        getattr(self, what)(data)

    def both(self, act: Callable[[Any], Any], shown: Callable[[Any], Any] = lambda answer: answer) -> Any:
        """What SQL answers, once the reference store has answered the same."""
        self.now += 0.001
        theirs, ours = _answer(act, self.sql), _answer(act, self.model)
        assert _shown(theirs, shown) == _shown(ours, shown), (theirs, ours)
        return theirs

    # Clients.

    def submit(self, data: st.DataObject) -> None:
        self._submit(**data.draw(SENT, label="sent"))

    def _submit(self, n: int, key: str | None, body: bytes, deadline_s: float | None, **how: Any) -> None:
        new = [self._new(deadline_s=deadline_s, **how) for _ in range(n)]
        # The two clocks differ; what matters is how far ahead a deadline lies.
        answers = []
        for store, now in ((self.sql, time.time()), (self.model, self.now)):
            deadline = None if deadline_s is None else now + deadline_s
            sent = [jobs.job(**(fields | {"deadline": deadline})) for fields in new]
            submission = Submission(
                tenant_id=DEFAULT_TENANT, jobs=tuple(sent), idempotency_key=key, body_hash=body if key else b""
            )
            (answer,) = store.insert([submission])
            answers.append((answer.job_ids, answer.is_replay) if isinstance(answer, Accepted) else type(answer))
        assert answers[0] == answers[1], answers

    def _new(self, *, events: int | None, order_key: float, rows: int, bucket: str, most: int, **_: Any) -> Any:
        self.count += 1
        return {
            "id": f"{self.count:032x}",
            "order_key": order_key,
            "submitted_at": 0.0,
            "rows": rows,
            "bucket": bucket,
            "max_attempts": most,
            "callback_url": None if events is None else "http://example.com/",
            "callback_events": events or 1,
        }

    def _one(self, data: st.DataObject) -> str:
        return data.draw(st.sampled_from(sorted(self.model.rows)), label="job")

    def cancel(self, data: st.DataObject) -> None:
        job_id, scope = self._one(data), data.draw(scopes)
        self.both(lambda store: store.cancel(scope, job_id))

    def cancel_many(self, data: st.DataObject) -> None:
        state = data.draw(st.sampled_from([None, JobState.PENDING, JobState.RUNNING]))
        priority = data.draw(st.sampled_from([None, 0, 5]))
        which = Selection(service_id=jobs.SERVICE, state=state, priority=priority)
        self.both(lambda store: _joined(store.cancel_many(OURS, which)))

    def again(self, data: st.DataObject) -> None:
        over = [row.id for row in self.model.rows.values() if row.is_final]
        job_id = data.draw(st.sampled_from(over)) if over else self._one(data)
        scope, order_key, is_retry = data.draw(scopes), data.draw(keys), data.draw(st.booleans())
        action, allowed = ("retry", RETRIED) if is_retry else ("requeue", FINAL)
        self.both(
            lambda store: store.again(
                scope, job_id, action=action, allowed=allowed, place=lambda now, priority, deadline: order_key
            )
        )

    def prioritise(self, data: st.DataObject) -> None:
        job_id, scope = self._one(data), data.draw(scopes)
        priority, order_key = data.draw(st.integers(0, 9)), data.draw(keys)
        self.both(
            lambda store: store.prioritise(
                scope, job_id, priority=priority, move=lambda key, before, deadline, submitted_at: order_key
            )
        )

    # Instances.

    def open(self, data: st.DataObject) -> None:
        self._open(data.draw(st.integers(0, 1), label="slot"))

    def _open(self, slot: int) -> None:
        instance_id, generation = self.instances.open(
            service_id=jobs.SERVICE, replica_id="r", slot=slot, replica_generation=1, pid=1, lease_s=LEASE_S
        )
        assert self.model.open(instance_id, jobs.SERVICE, pid=1, lease_s=LEASE_S) == generation
        self.claimants.append(
            Claimant(
                service_id=jobs.SERVICE,
                instance_id=instance_id,
                generation=generation,
                worker="w",
                model_version="1",
            )
        )

    def _who(self, data: st.DataObject) -> Claimant:
        """Mostly one that lives."""
        living = [by for by in self.claimants if self.model.is_alive(by.instance_id, by.generation)]
        is_any = not living or not data.draw(st.integers(0, 4), label="any")
        return data.draw(st.sampled_from(self.claimants if is_any else living), label="claimant")

    def renew(self, data: st.DataObject) -> None:
        by = self._who(data)
        held = self.instances.renew({by.instance_id: by.generation}, lease_s=LEASE_S)
        assert bool(held) == self.model.renew(by.instance_id, by.generation, lease_s=LEASE_S)

    def end(self, data: st.DataObject) -> None:
        by = self._who(data)
        self.instances.end(by.instance_id, by.generation)
        self.model.end(by.instance_id, by.generation)
        if data.draw(st.booleans(), label="noticed"):
            self._sweep("reap")

    # Workers.

    def claim(self, data: st.DataObject) -> None:
        by, max_rows = self._who(data), data.draw(st.integers(1, 4), label="rows")
        min_rows, is_ahead = data.draw(st.sampled_from([1, 1, 2])), data.draw(st.sampled_from([False, False, True]))
        claim = self.both(
            lambda store: store.claim(by, max_rows=max_rows, min_rows=min_rows, is_ahead=is_ahead), _claimed
        )
        self.held += [(by, job) for job in claim.jobs]

    def _some(self, data: st.DataObject) -> tuple[Claimant, list[ClaimedJob]]:
        """Jobs of one claimant, in the hands of it or of another; mostly of those that run now, whoever has them."""
        running = [(by, job) for by, job in self.held if self.model.rows[job.id].state is JobState.RUNNING]
        held = running if running and data.draw(st.integers(0, 4), label="any") else self.held
        owner, _ = data.draw(st.sampled_from(held[-12:]), label="holder")
        of_owner = [job for by, job in held if by == owner]
        chosen = data.draw(
            st.lists(st.sampled_from(of_owner[-6:]), min_size=1, max_size=4, unique_by=lambda job: job.id),
            label="jobs",
        )
        by = data.draw(st.one_of(st.just(owner), st.just(owner), st.sampled_from(self.claimants)), label="by")
        return by, chosen

    def finish(self, data: st.DataObject) -> None:
        if not self.held:
            return
        by, chosen = self._some(data)
        max_rows, delay_s = data.draw(st.sampled_from([0, 2])), data.draw(st.sampled_from([0.0, 0.0, 200.0]))
        ends = data.draw(st.lists(st.sampled_from(ENDS), min_size=len(chosen), max_size=len(chosen)), label="ends")
        outcomes = [_outcome(job, end, delay_s) for job, end in zip(chosen, ends, strict=True)]
        _, claim = self.both(
            lambda store: store.finish(by, outcomes, max_rows=max_rows),
            lambda answer: (_became(answer[0]), _claimed(answer[1])),
        )
        self.held += [(by, job) for job in claim.jobs]

    def release(self, data: st.DataObject) -> None:
        if not self.held:
            return
        by, chosen = self._some(data)
        self.both(lambda store: store.release(by, chosen))

    def disown(self, data: st.DataObject) -> None:
        by = self._who(data)
        self.both(lambda store: store.disown(by))

    # Time, and what goes by it.

    def jump(self, data: st.DataObject) -> None:
        by_s = data.draw(st.sampled_from(JUMPS_S), label="seconds")
        self.now += by_s
        with self.database.write() as connection:
            connection.execute(
                sa.text("UPDATE jobs SET not_before = not_before - :by, deadline = deadline - :by"), {"by": by_s}
            )
            connection.execute(sa.text("UPDATE instances SET lease_until = lease_until - :by"), {"by": by_s})
        self.sweep(data)

    def sweep(self, data: st.DataObject) -> None:
        self._sweep(data.draw(st.sampled_from(["reap", "reap", "promote", "expire"]), label="sweep"))

    def _sweep(self, what: str) -> None:
        self.both(lambda store: getattr(store, what)(), sorted)

    @invariant()
    def all_that_can_be_seen_is_the_same(self) -> None:
        if not hasattr(self, "model"):
            return
        seen, expected = self._seen(), self._expected()
        unlike = {name: (seen[name], expected[name]) for name in seen if seen[name] != expected[name]}
        assert not unlike, unlike

    def _seen(self) -> dict[str, Any]:
        with self.database.read() as connection:

            def rows(what: str) -> list[tuple[Any, ...]]:
                return [tuple(row) for row in connection.execute(sa.text(f"SELECT {what}"))]

            return {
                "jobs": {row[0]: tuple(row[1:]) for row in rows(JOB)},
                "attempts": sorted(
                    rows("job_id, generation, attempt, instance_id, outcome, error_code FROM attempts"), key=str
                ),
                "results": {row.job_id: bytes(row.body) for row in connection.execute(sa.select(tables.results))},
                "outbox": sorted(rows("id, job_state FROM outbox")),
                "usage": sum(row[0] for row in rows("jobs FROM usage")),
                "has waiting": self.sql.has_waiting(jobs.SERVICE),
            }

    def _expected(self) -> dict[str, Any]:
        model = self.model
        attempts = [
            (row.job_id, row.generation, row.attempt, row.instance_id, row.outcome, row.error_code)
            for row in model.attempts
        ]
        return {
            "jobs": model.visible(),
            "attempts": sorted(attempts, key=str),
            "results": model.results,
            "outbox": sorted((event.id, event.job_state) for event in model.outbox),
            "usage": sum(model.usage.values()),
            "has waiting": any(row.is_claimable for row in model.rows.values()),
        }


def _answer(act: Callable[[Any], Any], store: Any) -> Any:
    try:
        return act(store)
    except PenstockError as error:
        return error


def _shown(answer: Any, shown: Callable[[Any], Any]) -> Any:
    return (type(answer), answer.details.get("state")) if isinstance(answer, PenstockError) else shown(answer)


def _joined(chunks: Iterator[dict[str, JobState]]) -> dict[str, JobState]:
    return {job_id: state for chunk in chunks for job_id, state in chunk.items()}


def _claimed(claim: Claim) -> Any:
    taken = [(job.id, job.generation, job.attempt, job.crashes, job.priority, job.payload) for job in claim.jobs]
    return taken, claim.is_full, claim.expired_ids


def _became(moved: dict[str, Moved]) -> dict[str, JobState]:
    return {job_id: change.state for job_id, change in moved.items()}


def _outcome(job: ClaimedJob, state: JobState, delay_s: float) -> Outcome:
    is_good = state is JobState.COMPLETED
    return Outcome(
        job=job,
        state=state,
        started_at=1.0,
        ended_at=2.0,
        batch_size=1,
        result=f"[{job.generation}, {job.attempt}]".encode() if is_good else None,
        error_code=None if is_good else "engine_failed",
        delay_s=delay_s if state is JobState.PENDING else 0.0,
    )
