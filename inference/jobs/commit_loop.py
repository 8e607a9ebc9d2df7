"""Group commit for an event loop: one thread writes, and the loop never waits for it."""

import asyncio
import threading
from collections.abc import Sequence
from queue import Empty, SimpleQueue

from inference.errors import PenstockError
from inference.jobs.commit import Fill, count, ring
from inference.jobs.early import EarlyRings
from inference.jobs.model import Accepted, Submission
from inference.jobs.ports import Bell, JobStore
from inference.settings import JobsSettings

Waiting = tuple[Submission, "asyncio.Future[Accepted]"]


class LoopCommit:
    """For the coroutines of one loop. What comes while a commit is under way shares the next one.

    There is no timer: the thread writes what has gathered as soon as it is free, and hands all answers of a commit
    back to the loop in one call.
    """

    def __init__(self, store: JobStore, bell: Bell, settings: JobsSettings) -> None:
        self._store = store
        self._bell = bell
        self._settings = settings
        self._queue: SimpleQueue[Waiting | None] = SimpleQueue()
        self._next: Waiting | None = None
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def put(self, submission: Submission) -> "asyncio.Future[Accepted]":
        """Call on the loop. The future has its answer when the jobs are committed and rung for; or what refused them.

        Who stops waiting for it takes nothing back: what was accepted runs.
        """
        if self._thread is None:
            self._loop = asyncio.get_running_loop()
            self._thread = threading.Thread(target=self._write_for_ever, name="commit", daemon=True)
            self._thread.start()
        future: asyncio.Future[Accepted] = asyncio.get_running_loop().create_future()
        self._queue.put((submission, future))
        return future

    def close(self) -> None:
        """What was put is still written; returns when it is."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()
            self._thread = None

    def _write_for_ever(self) -> None:
        while batch := self._gather():
            submissions = [submission for submission, _ in batch]
            early = EarlyRings(self._bell, submissions)
            try:
                answers: Sequence[Accepted | BaseException] = self._store.insert(submissions, soon=early.ring)
                ring(self._bell, submissions, answers, early.done)
            except BaseException as error:
                answers = [error] * len(batch)
            self._hand_over(batch, answers)
            early.heed()
            count(submissions, answers)

    def _gather(self) -> list[Waiting]:
        """What waits, up to the limits of one commit; empty at the end. Waits for the first."""
        waiting, self._next = self._next or self._queue.get(), None
        batch: list[Waiting] = []
        fill = Fill(self._settings)
        while waiting is not None:
            if not fill.takes(waiting[0]):
                self._next = waiting
                return batch
            batch.append(waiting)
            try:
                waiting = self._queue.get_nowait()
            except Empty:
                return batch
        if batch:
            self._queue.put(None)
        return batch

    def _hand_over(self, batch: Sequence[Waiting], answers: Sequence[Accepted | BaseException]) -> None:
        loop = self._loop
        if loop is None or loop.is_closed():
            return
        loop.call_soon_threadsafe(_settle, batch, answers)


def _settle(batch: Sequence[Waiting], answers: Sequence[Accepted | PenstockError | BaseException]) -> None:
    for (_, future), answer in zip(batch, answers, strict=True):
        if future.done():
            continue
        if isinstance(answer, Accepted):
            future.set_result(answer)
        else:
            future.set_exception(answer)
