"""Drain: claim, run, finish, tell, until both lanes are empty, the time is over or the instance must stop."""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from enum import StrEnum
from typing import Protocol, TypeAlias

import structlog

from inference.access.model import Scope
from inference.clock import monotonic_s
from inference.errors import NoRoom, PenstockError, Unavailable
from inference.jobs.announce import announce
from inference.jobs.cache import keep_for
from inference.jobs.directory import slots
from inference.jobs.ended import view_of
from inference.jobs.execute import Batch
from inference.jobs.express import express_room, jobs_room, turns
from inference.jobs.express_side import ExpressSide
from inference.jobs.model import FINAL, Claim, Claimant, ClaimedJob, JobState, JobView, Moved, Outcome
from inference.jobs.ports import JobPorts
from inference.jobs.traced import traces_of
from inference.telemetry import metrics
from inference.telemetry.many import observe_all

log = structlog.get_logger(__name__)

RING_AGAIN_S = 0.1
STORE_WAIT_S = (0.1, 2.0)
FINISH_S, LARGE_FINISH_S = 30.0, 600.0
CLAIM_AGAIN_S = 2.0
"""After a claim that failed, predictions alone go on for so long."""
AWAY = (Unavailable, NoRoom)


class Phase(StrEnum):
    IDLE = "idle"
    CLAIMING = "claiming"
    RUNNING = "running"
    FINISHING = "finishing"


class Hands(Protocol):
    """The instance that drains: an engine, and what the supervisor sees of it."""

    @property
    def claimant(self) -> Claimant: ...

    @property
    def max_rows(self) -> int: ...

    @property
    def max_wait_s(self) -> float: ...

    def prepare(self, jobs: Sequence[ClaimedJob]) -> Batch: ...

    def run(self, batch: Batch) -> list[Outcome]:
        """Never raises; blocks as long as the engine does. Enters RUNNING by itself, once for each engine call.

        Jobs without an outcome were stopped from outside before their time.
        """
        ...

    def may_claim_ahead(self) -> bool:
        """Whether batches are short enough to hold a second one."""
        ...

    def is_stopping(self) -> bool: ...

    def enter(self, phase: Phase, *, limit_s: float, jobs: int = 0) -> None:
        """Says what the instance does now, and how long that may take at most."""
        ...

    def told(self, outcomes: Sequence[Outcome], moved: Mapping[str, Moved]) -> None:
        """After the commit and the hot copies: for whoever else wants to know. Never raises."""
        ...


class Ended(StrEnum):
    EMPTY = "empty"
    TIME = "time"
    STOPPING = "stopping"


Turn: TypeAlias = tuple[Batch, ...]
"""What runs next: one batch, or those of both lanes where they cannot share one."""


class Drain:
    """The loop of one instance. One thread at a time; the caller holds the instance's lock.

    Jobs are claimed in SQL, predictions taken from the express lane, each its share of the next batch; while there
    are predictions only, SQL is asked now and then.
    """

    def __init__(self, ports: JobPorts, hands: Hands, tenant_id: str) -> None:
        self._ports = ports
        self._hands = hands
        self._tenant_id = tenant_id
        self._engine_thread = ThreadPoolExecutor(1, thread_name_prefix="engine")
        self._rang_at = 0.0
        self._is_unsure = False
        self._express = ExpressSide(ports, hands.claimant)
        self._share = ports.settings.express_share
        self._jobs_rows = 0
        service = hands.claimant.service_id
        self._claim_time = metrics.claim_time.labels(service)
        self._finish_time = metrics.finish_time.labels(service)
        self._empty_claims = metrics.empty_claims.labels(service)
        self._latency = metrics.job_latency.labels(service)
        self._fenced = metrics.fenced.labels(service)
        self._traces = traces_of(ports.traces, hands.claimant)

    @property
    def is_unsure(self) -> bool:
        """Whether the instance may hold jobs that it does not know of; the next `work` gives them back."""
        return self._is_unsure

    def work(self, *, until_s: float, looks: bool = True, is_for_jobs: bool = False) -> Ended:
        """Drains until the monotonic instant `until_s`; TIME means that more may be waiting.

        `looks`: begins with a claim; without, a drain that was woken for predictions goes for them first.
        `is_for_jobs`: it was woken for jobs, and for no prediction: the first batch does without a look for them.
        """
        if not looks:
            self._express.heard()
        if is_for_jobs:
            self._express.heard_of_none()
        claim = self._claim() if looks or self._express.are_jobs_due else Claim()
        if looks and not claim.jobs:
            self._empty_claims.inc()
        express: Sequence[ClaimedJob] = self._take(until_s, may_wait=is_for_jobs)
        while claim.jobs or claim.expired_ids or express:
            if not claim.jobs and not express:
                # All that it found came too late; others may wait behind.
                claim = self._claim()
                continue
            turn = self._turn(claim.jobs, express)
            if claim.is_full:
                self._ring_next()
            if (claim.is_full or self._express.is_crowded) and self._hands.may_claim_ahead():
                claim, express = self._pipeline(turn, until_s=until_s)
                continue
            claim, express = self._settle(self._run(turn), until_s=until_s)
        self._hands.enter(Phase.IDLE, limit_s=0)
        if self._hands.is_stopping():
            return Ended.STOPPING
        return Ended.TIME if monotonic_s() >= until_s else Ended.EMPTY

    def rest(self) -> None:
        """Nothing is to be done for a while: adds what predictions used."""
        self._express.add_usage(is_over=True)

    def _is_over(self, until_s: float) -> bool:
        return self._hands.is_stopping() or monotonic_s() >= until_s

    def _turn(self, jobs: Sequence[ClaimedJob], express: Sequence[ClaimedJob]) -> Turn:
        batches = turns(jobs, express, max_rows=self._hands.max_rows)
        return tuple(self._hands.prepare(batch) for batch in batches if batch)

    def _take(self, until_s: float, *, may_wait: bool = False) -> tuple[ClaimedJob, ...]:
        """Tells the predictions that are done, and takes the next ones."""
        room = express_room(self._hands.max_rows, share=self._share, jobs_rows=self._jobs_rows)
        return self._express.take(0 if self._is_over(until_s) else room, may_wait=may_wait)

    def _settle(
        self, done: Sequence[Outcome], *, until_s: float, express: Sequence[ClaimedJob] = ()
    ) -> tuple[Claim, Sequence[ClaimedJob]]:
        """Answers, finishes, and gets what the next turn is made of. `express`: what was taken for it already."""
        jobs = self._express.part(done)
        if express:
            self._express.tell()
        else:
            express = self._take(until_s, may_wait=True)
        self._express.add_usage()
        room = 0 if self._is_over(until_s) else self._room(express)
        if jobs:
            return self._finish(jobs, max_rows=room), express
        return self._claim(room) if room and self._express.are_jobs_due else Claim(), express

    def _room(self, express: Sequence[ClaimedJob]) -> int:
        """Rows of jobs for the next turn."""
        taken = sum(job.rows for job in express)
        most = self._hands.max_rows
        return jobs_room(most, share=self._share, express_rows=taken) if taken else most

    def _pipeline(self, turn: Turn, *, until_s: float) -> tuple[Claim, Sequence[ClaimedJob]]:
        """While a turn runs, the one before it is finished and the next one claimed and decoded.

        Claims ahead only whole batches: a part of one could still grow while the engine is busy. Returns that with
        which the plain loop goes on.
        """
        done = list[Outcome]()
        while True:
            running = self._engine_thread.submit(self._run, turn)
            is_last = self._is_over(until_s)
            jobs = self._express.part(done)
            express = self._take(until_s, may_wait=True)
            self._express.add_usage()
            rows = 0 if is_last or not (jobs or self._express.are_jobs_due) else self._room(express)
            ahead = self._finish(jobs, max_rows=rows, min_rows=rows, is_ahead=True)
            # A claim ahead leaves suspects and small batches where they are: only the plain loop sees that none wait.
            goes_on = bool(ahead.jobs) or (self._express.is_crowded and not rows)
            following = self._turn(ahead.jobs, express) if goes_on else ()
            done = running.result()
            if ahead.jobs and (self._hands.is_stopping() or self._is_late(ahead.jobs)):
                self._release(ahead.jobs)
                following = ()
            if not following:
                return self._settle(done, until_s=until_s, express=express)
            turn = following

    def _is_late(self, jobs: Sequence[ClaimedJob]) -> bool:
        now = self._ports.store.now_s()
        return any(job.deadline is not None and job.deadline <= now for job in jobs)

    def _run(self, turn: Turn) -> list[Outcome]:
        """The outcomes. What was stopped before its time has none, and is given back as it came."""
        done = list[Outcome]()
        for batch in turn:
            if done:
                done = self._express.part(done)
                self._express.tell()
            done += self._run_batch(batch)
        return done

    def _run_batch(self, batch: Batch) -> list[Outcome]:
        with self._traces.within(batch.jobs):
            outcomes = self._hands.run(batch)
        self._traces.ran(outcomes)
        if len(outcomes) < len(batch.jobs) + len(batch.refused):
            ended = {outcome.job.id for outcome in outcomes}
            stopped = [job for job in batch.jobs if job.id not in ended]
            if jobs := self._express.stopped(stopped):
                self._release(jobs)
        return outcomes

    def _claim(self, max_rows: int = 0) -> Claim:
        """At most so many rows; 0 for as many as a batch has."""
        store, hands = self._ports.store, self._hands
        rows = max_rows or hands.max_rows
        hands.enter(Phase.CLAIMING, limit_s=30)
        try:
            self._give_back_unknown()
            self._traces.begin()
            with self._claim_time.time():
                if not hands.max_wait_s:
                    return self._told(store.claim(hands.claimant, max_rows=rows))
                claim = self._told(store.claim(hands.claimant, max_rows=rows, min_rows=rows))
            if claim.jobs or not store.has_waiting(hands.claimant.service_id):
                return claim
            time.sleep(hands.max_wait_s)
            return self._told(store.claim(hands.claimant, max_rows=rows))
        except AWAY as error:
            log.warning("claim_failed", reason=error.message)
            self._is_unsure = True
            self._jobs_rows = 0
            self._express.looked(found=False, again_s=CLAIM_AGAIN_S)
            return Claim()

    def _give_back_unknown(self) -> None:
        """After a claim whose answer was lost with its connection: what it may have taken goes back."""
        if self._is_unsure:
            released = self._ports.store.disown(self._hands.claimant)
            self._is_unsure = False
            log.info("unknown_claims_released", jobs=len(released))
            self._announce(_final(released))

    def _finish(
        self, outcomes: Sequence[Outcome], *, max_rows: int, min_rows: int = 1, is_ahead: bool = False
    ) -> Claim:
        """Writes the outcomes, however long the database stays away: what was computed is not thrown away.

        Claims in the same transaction, unless an answer was lost: then a COMMIT may still be under way on the server.
        The outcomes go first, since their rows wait for it, and a claim of its own follows, which gives back the rest.
        """
        hands, wait_s = self._hands, STORE_WAIT_S[0]
        if not outcomes and not max_rows:
            return Claim()
        draft = None if self._ports.large is None else self._ports.large.draft(outcomes)
        limit_s = FINISH_S if draft is None else LARGE_FINISH_S
        keep = keep_for(self._ports.directory, self._tenant_id, hands.claimant, outcomes)
        while True:
            if not is_ahead:
                hands.enter(Phase.FINISHING, limit_s=limit_s, jobs=len(outcomes))
            try:
                outcomes = outcomes if draft is None else draft.written()
                wanted = 0 if self._is_unsure else max_rows
                self._traces.begin()
                with self._finish_time.time():
                    moved, claim = self._ports.store.finish(
                        hands.claimant, outcomes, max_rows=wanted, min_rows=min_rows, is_ahead=is_ahead, keep=keep
                    )
                break
            except AWAY as error:
                log.warning("finish_waits", reason=error.message, jobs=len(outcomes))
                self._is_unsure = True
                hands.enter(Phase.FINISHING, limit_s=limit_s, jobs=len(outcomes))
                time.sleep(wait_s)
                wait_s = min(wait_s * 2, STORE_WAIT_S[1])
        if draft is not None:
            draft.keep()
        self._tell(outcomes, moved)
        if self._is_unsure:
            unsure = [outcome.job.id for outcome in outcomes if outcome.job.id not in moved]
            self._announce(unsure, is_counted=False)
            self._announce_shared(claim)
            return Claim() if is_ahead or not max_rows else self._claim()
        return self._told(claim, is_ahead=is_ahead)

    def _tell(self, outcomes: Sequence[Outcome], moved: dict[str, Moved]) -> None:
        self._traces.finished(outcomes, moved)
        if len(moved) < len(outcomes) and not self._is_unsure:
            self._fenced.inc(len(outcomes) - len(moved))
            log.warning("finish_fenced", jobs=len(outcomes) - len(moved))
        by, by_tenant = self._hands.claimant, dict[str, list[JobView]]()
        latencies, states = list[float](), Counter[JobState]()
        for outcome in outcomes:
            change = moved.get(outcome.job.id)
            if change is None or change.state not in FINAL:
                continue
            by_tenant.setdefault(outcome.job.tenant_id, []).append(view_of(outcome, change, by))
            latencies.append((change.completed_at or outcome.ended_at) - outcome.job.submitted_at)
            states[change.state] += 1
        for tenant_id, views in by_tenant.items():
            self._ports.hot.put(tenant_id, by.service_id, views)
        observe_all(self._latency, latencies)
        for state, count in states.items():
            metrics.finished.labels(by.service_id, state.value).inc(count)
        self._hands.told(outcomes, moved)

    def _told(self, claim: Claim, *, is_ahead: bool = False) -> Claim:
        """Announces what the claim found too late. Never raises: a claim that is committed must not be lost here."""
        found = bool(claim.jobs or claim.expired_ids)
        if found or not is_ahead:
            rows = sum(job.rows for job in claim.jobs)
            self._jobs_rows = max(rows, self._hands.max_rows) if claim.is_full else rows
            self._express.looked(found=found)
        self._traces.claimed(claim.jobs)
        self._announce(claim.expired_ids)
        self._announce_shared(claim)
        return claim

    def _announce_shared(self, claim: Claim) -> None:
        if claim.shared_ids:
            metrics.coalesced.labels(self._hands.claimant.service_id).inc(len(claim.shared_ids))
            self._announce(claim.shared_ids)

    def _announce(self, job_ids: Sequence[str], *, is_counted: bool = True) -> None:
        """Tells of jobs that ended otherwise than at the engine's hands. Losing that costs waiters time."""
        try:
            announce(self._ports, job_ids, is_counted=is_counted)
        except AWAY as error:
            log.warning("end_not_told", reason=error.message, jobs=len(job_ids))

    def _release(self, jobs: Sequence[ClaimedJob]) -> None:
        try:
            released = self._ports.store.release(self._hands.claimant, jobs)
        except AWAY as error:
            self._is_unsure = True
            log.warning("release_failed", reason=error.message, jobs=len(jobs))
            return
        self._announce(_final(released))

    def _ring_next(self) -> None:
        """More is waiting than this instance takes: another free one should help."""
        if monotonic_s() - self._rang_at < RING_AGAIN_S:
            return
        self._rang_at = monotonic_s()
        try:
            service, _ = self._ports.directory.find(Scope(self._tenant_id), self._hands.claimant.service_id)
        except PenstockError:
            return
        if (most := slots(service)) > 1:
            self._ports.bell.ring(service.id, slots=most)


def _final(moved: Mapping[str, JobState]) -> list[str]:
    return [job_id for job_id, state in moved.items() if state in FINAL]
