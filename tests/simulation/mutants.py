"""Protocols that are wrong in one place each. None of them exists outside of the tests."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from inference.jobs.model import Claim, Claimant, ClaimedJob, JobState, Moved, Outcome, Submission
from inference.jobs.suspect import Verdict
from tests.simulation.rows import Row
from tests.simulation.store import PENDING, RUNNING, ModelStore
from tests.simulation.workers import Process
from tests.simulation.world import World


class NoFenceOnAttempt(ModelStore):
    def is_his(self, row: Row, by: Claimant, job: ClaimedJob) -> bool:
        return (row.generation, row.state) == (job.generation, RUNNING) and _is_held_by(row, by)


class NoFenceOnGeneration(ModelStore):
    def is_his(self, row: Row, by: Claimant, job: ClaimedJob) -> bool:
        return (row.attempt, row.state) == (job.attempt, RUNNING) and _is_held_by(row, by)


class NoFenceOnInstance(ModelStore):
    def is_his(self, row: Row, by: Claimant, job: ClaimedJob) -> bool:
        return (row.generation, row.attempt, row.state) == (job.generation, job.attempt, RUNNING)


class FinishWithoutStateCheck(ModelStore):
    def is_his(self, row: Row, by: Claimant, job: ClaimedJob) -> bool:
        return (row.generation, row.attempt) == (job.generation, job.attempt) and _is_held_by(row, by)


class ReapWithoutClock(ModelStore):
    def is_lost(self, row: Row) -> bool:
        return row.state is RUNNING


class ReapBlindToNewLives(ModelStore):
    def is_lost(self, row: Row) -> bool:
        found = self.instances.get(row.instance_id or "")
        return row.state is RUNNING and (found is None or found.lease_until <= self.now_s())


class ReleaseThatCharges(ModelStore):
    def uncharge(self, row: Row) -> None:
        pass


class ClaimOfRunning(ModelStore):
    def candidates(self, by: Claimant) -> list[Row]:
        return [row for row in self.rows.values() if row.state in (PENDING, RUNNING) and row.not_before is None]


class ClaimOfFinished(ModelStore):
    def candidates(self, by: Claimant) -> list[Row]:
        return [row for row in self.rows.values() if row.state in (PENDING, JobState.FAILED)]


class ClaimInAnyOrder(ModelStore):
    def candidates(self, by: Claimant) -> list[Row]:
        return [row for row in self.rows.values() if row.is_claimable]


class CancelOfFinished(ModelStore):
    def may_cancel(self, state: JobState) -> bool:
        return True


class CancelAtOnce(ModelStore):
    def is_cancelled_at_once(self, state: JobState) -> bool:
        return True


class CancelIgnored(ModelStore):
    def end_of(self, row: Row, asked: JobState) -> JobState:
        return asked


class RetryKeepsResult(ModelStore):
    def drop_result(self, job_id: str) -> None:
        pass


class ExpireOfRunning(ModelStore):
    def may_expire(self, row: Row) -> bool:
        return row.state in (PENDING, RUNNING)


class KeysForgotten(ModelStore):
    def known(self, submission: Submission) -> None:
        return None


class NobodySuspected(ModelStore):
    def verdict(self, row: Row, mates: int) -> Verdict:
        found = super().verdict(row, mates)
        return dataclasses.replace(found, batch_cap=0)


class CrashesForFree(ModelStore):
    def verdict(self, row: Row, mates: int) -> Verdict:
        return Verdict(state=PENDING, batch_cap=1, is_attempt=False)


class MatesPayForCrashes(ModelStore):
    def verdict(self, row: Row, mates: int) -> Verdict:
        return super().verdict(row, 1)


class OneAttemptTooMany(ModelStore):
    def verdict(self, row: Row, mates: int) -> Verdict:
        is_over = row.attempt > row.new.max_attempts
        return Verdict(state=JobState.DEAD if is_over else PENDING, batch_cap=1, is_attempt=True)


class NothingDisowned(ModelStore):
    def disown(self, by: Claimant) -> dict[str, JobState]:
        return {}


class UsageOfFenced(ModelStore):
    def finish(self, by: Claimant, outcomes: Sequence[Outcome], **how: Any) -> tuple[dict[str, Moved], Claim]:
        moved, claim = super().finish(by, outcomes, **how)
        for outcome in outcomes:
            if outcome.job.id not in moved:
                self.usage[outcome.job.tenant_id, by.service_id] += 1
        return moved, claim


class TellsWhatWasFenced(Process):
    def tells(self, outcome: Outcome, moved: dict[str, Moved]) -> bool:
        return True


class HotCopyOutlivesRetry(World):
    def forget_hot(self, job_id: str) -> None:
        pass


class HotCopyWithoutTombstone(World):
    def forget_hot(self, job_id: str) -> None:
        self.hot.pop(job_id, None)


def _is_held_by(row: Row, by: Claimant) -> bool:
    return (row.instance_id, row.instance_generation) == (by.instance_id, by.generation)


def world_of(mutant: type[Any]) -> type[World]:
    """A world in which this store, process or world is the real one."""
    if issubclass(mutant, World):
        return mutant
    name = "store_kind" if issubclass(mutant, ModelStore) else "process_kind"
    return type(mutant.__name__, (World,), {name: mutant})


CAUGHT_BY: dict[type[Any], set[str]] = {
    NoFenceOnAttempt: {"attempt_gap"},
    FinishWithoutStateCheck: {"attempt_gap", "moved_after_final"},
    ReapWithoutClock: {"robbed"},
    ReapBlindToNewLives: {"unended"},
    ReleaseThatCharges: {"attempt_gap"},
    ClaimOfRunning: {"illegal_move"},
    ClaimOfFinished: {"moved_after_final"},
    ClaimInAnyOrder: {"overtaken"},
    CancelOfFinished: {"moved_after_final"},
    CancelAtOnce: {"cancelled_too_early"},
    CancelIgnored: {"cancel_ignored"},
    RetryKeepsResult: {"result_stray"},
    ExpireOfRunning: {"illegal_move"},
    KeysForgotten: {"duplicate_id", "key_twice"},
    NobodySuspected: {"attempts_over_max", "unended"},
    CrashesForFree: {"unended"},
    MatesPayForCrashes: {"wrong_end"},
    OneAttemptTooMany: {"attempts_over_max"},
    NothingDisowned: {"unended"},
    UsageOfFenced: {"usage_differs"},
    TellsWhatWasFenced: {"answer_changed"},
    HotCopyOutlivesRetry: {"stale_read"},
    HotCopyWithoutTombstone: {"stale_read"},
}
"""Mutant -> the invariants by one of which it is found, in worlds drawn by dice."""

CAUGHT_IN_CASES: dict[type[Any], set[str]] = {
    NoFenceOnGeneration: {"last_attempt_differs", "attempt_gap"},
    NoFenceOnInstance: {"attempt_by_another"},
}
"""Those that need so much bad luck at once that dice rarely bring it; every interleaving of a small case does."""
