"""How far a running job is, as its engine reports it. Nothing depends on it: it may be late, or lost."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec

from inference import clock
from inference.jobs.model import JobState, JobView, Mark


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """One report. `fraction`: 0 to 1. Of that attempt alone: a later one begins anew."""

    generation: int
    attempt: int
    fraction: float
    message: str
    updated_at: float


class ProgressBoard(Protocol):
    """The newest report of each running job. Never raises: without the part that keeps them there are none."""

    def put(self, reports: Mapping[str, Progress], *, ttl_s: float) -> None:
        """By job, instead of what was there; forgotten after `ttl_s`."""
        ...

    def remove(self, job_ids: Sequence[str]) -> None: ...

    def get(self, job_ids: Sequence[str]) -> Mapping[str, Progress]:
        """Of those that there are reports of. Whose they are, the caller has seen to."""
        ...


def of_view(board: ProgressBoard | None, view: JobView) -> Progress | None:
    """Of a running job; what an earlier attempt reported is not shown. Nothing is asked for jobs in other states."""
    if board is None or view.state is not JobState.RUNNING:
        return None
    mark = Mark(generation=view.generation, attempt=view.attempts, state=view.state)
    return current(board.get([view.id]), {view.id: mark}).get(view.id)


def current(reports: Mapping[str, Progress], marks: Mapping[str, Mark]) -> dict[str, Progress]:
    """Those that are of the attempt under way."""
    return {
        job_id: report
        for job_id, report in reports.items()
        if (mark := marks.get(job_id)) is not None
        and mark.state is JobState.RUNNING
        and (mark.generation, mark.attempt) == (report.generation, report.attempt)
    }


def fields(report: Progress) -> dict[str, Any]:
    """As its owner sees it."""
    return {
        "fraction": round(report.fraction, 6),
        "message": report.message,
        "updated_at": clock.iso(report.updated_at),
    }
