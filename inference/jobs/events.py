"""What has happened to a job so far: derived from its row and its attempts, so that no log is needed. Pure."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from inference import clock
from inference.jobs.model import FINAL, JobHistory, JobState, Mark

_ID = re.compile(r"(\d{1,9})\.(\d{1,9})\.([a-z]{1,12})")
_RANKS = {"pending": 0, "running": 1, "retried": 2, "lost": 2}
_LAST = 3

Place = tuple[int, float, int]
"""Where an event stands: generation, attempt, rank. A later event has a greater one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """`what`: pending, running, retried, lost, or a final state. `at`: None where no instant was kept.

    The end of a generation stands behind all of its attempts, also when the last one was given back and not counted.
    """

    generation: int
    attempt: int
    what: str
    at: float | None
    worker: str | None = None
    error_code: str | None = None
    error_message: str | None = None

    @property
    def id(self) -> str:
        return f"{self.generation}.{self.attempt}.{self.what}"

    @property
    def place(self) -> Place:
        return _place(self.generation, self.attempt, self.what)


def events(history: JobHistory) -> list[Event]:
    """In order. Of an earlier generation only attempts are known: how it ended when none did is not."""
    job = history.job
    ends = {(one.generation, one.attempt): one for one in history.attempts}
    found = []
    for generation in range(1, job.generation + 1):
        found.append(_event(generation, 0, "pending", job.created_at if generation == 1 else None))
        attempts = [number for of, number in ends if of == generation]
        is_newest = generation == job.generation
        if is_newest and job.state is JobState.RUNNING:
            attempts.append(job.attempts)
        for number in sorted(set(attempts)):
            one = ends.get((generation, number))
            if one is None:
                at = job.started_at or history.claimed_at
                found.append(_event(generation, number, "running", at, worker=job.worker))
                continue
            found.append(_event(generation, number, "running", one.started_at or one.claimed_at, worker=one.worker))
            wrong = {"error_code": one.error_code, "error_message": one.error_message}
            found.append(_event(generation, number, one.outcome, one.ended_at, worker=one.worker, **wrong))
        if is_newest and job.state in FINAL:
            wrong = {"error_code": job.error_code, "error_message": job.error_message}
            wrong = {} if job.state is JobState.COMPLETED else wrong
            end = _event(generation, job.attempts, job.state.value, job.completed_at, worker=job.worker, **wrong)
            if found[-1].place == end.place:
                found.pop()
            found.append(end)
    return found


def after(told: Sequence[Event], last: Place | None) -> list[Event]:
    """Those behind the event that stood at `last`; all when nothing was told yet."""
    return [event for event in told if last is None or event.place > last]


def place_of(event_id: str | None) -> Place | None:
    """Where an event with this id stands; None for what is no id of ours: then all is told again."""
    match = _ID.fullmatch(event_id or "")
    if match is None or (match[3] not in _RANKS and match[3] not in {state.value for state in FINAL}):
        return None
    return _place(int(match[1]), int(match[2]), match[3])


def mark(history: JobHistory) -> Mark:
    """What changes whenever there is something new to tell."""
    return Mark(generation=history.job.generation, attempt=history.job.attempts, state=history.job.state)


def text(task_id: str, event: Event) -> bytes:
    """The event as `text/event-stream` has it."""
    shown: dict[str, Any] = {
        "task_id": task_id,
        "event": event.what,
        "generation": event.generation,
        "attempt": event.attempt,
        "at": clock.iso(event.at),
        "worker": event.worker,
    }
    if event.error_code is not None:
        shown["error"] = {"code": event.error_code, "message": event.error_message or event.error_code}
    return b"id: %s\nevent: %s\ndata: %s\n\n" % (event.id.encode(), event.what.encode(), orjson.dumps(shown))


def _place(generation: int, attempt: int, what: str) -> Place:
    if what in _RANKS:
        return generation, attempt, _RANKS[what]
    return generation, math.inf, _LAST


def _event(generation: int, attempt: int, what: str, at: float | None, **more: Any) -> Event:
    return Event(generation=generation, attempt=attempt, what=what, at=at, **more)
