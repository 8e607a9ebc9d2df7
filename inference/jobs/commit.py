"""Group commit: requests that come while a commit is under way share the next one."""

import threading
from collections import deque
from collections.abc import Sequence

from inference.errors import PenstockError, StoreUnavailable
from inference.jobs.model import Accepted, Submission
from inference.jobs.ports import JobStore
from inference.settings import JobsSettings
from inference.telemetry import metrics


class _Waiting:
    __slots__ = ("answer", "leads", "submission", "wake")

    def __init__(self, submission: Submission) -> None:
        self.submission = submission
        self.wake = threading.Event()
        self.leads = False
        self.answer: Accepted | PenstockError | None = None


class GroupCommit:
    """`Commit` for any number of threads of one process.

    There is no thread and no timer behind it: whoever finds nobody committing commits for all who have gathered,
    then hands the lead to the first who came meanwhile. `commits` and `submissions` count what it did.
    """

    def __init__(self, store: JobStore, settings: JobsSettings) -> None:
        self._store = store
        self._settings = settings
        self._lock = threading.Lock()
        self._queue: deque[_Waiting] = deque()
        self._is_led = False
        self.commits = 0
        self.submissions = 0

    def __call__(self, submission: Submission) -> Accepted:
        me = _Waiting(submission)
        with self._lock:
            self._queue.append(me)
            leads = not self._is_led
            self._is_led = True
        if not leads:
            me.wake.wait()
        if leads or me.leads:
            self._lead()
        if me.answer is None:
            raise StoreUnavailable("The commit ended without an answer.", part="sql", retry_after_s=1)
        if isinstance(me.answer, PenstockError):
            raise me.answer
        return me.answer

    def _lead(self) -> None:
        batch = self._gather()
        try:
            answers: Sequence[Accepted | PenstockError] = self._store.insert([one.submission for one in batch])
        except PenstockError as error:
            answers = [error] * len(batch)
        except BaseException:
            self._settle(batch, [None] * len(batch))
            raise
        self._settle(batch, answers)

    def _settle(self, batch: Sequence[_Waiting], answers: Sequence[Accepted | PenstockError | None]) -> None:
        self.commits += 1
        self.submissions += len(batch)
        metrics.commits.inc()
        metrics.submissions.inc(len(batch))
        with self._lock:
            heir = self._queue[0] if self._queue else None
            self._is_led = heir is not None
        if heir is not None:
            heir.leads = True
            heir.wake.set()
        for one, answer in zip(batch, answers, strict=True):
            one.answer = answer
            one.wake.set()

    def _gather(self) -> list[_Waiting]:
        """The head of the queue, up to the limits of one commit; always at least one."""
        batch: list[_Waiting] = []
        rows = size = 0
        with self._lock:
            while self._queue:
                jobs = self._queue[0].submission.jobs
                rows += len(jobs)
                size += sum(len(job.payload) for job in jobs)
                if batch and (rows > self._settings.commit_rows or size > self._settings.commit_bytes):
                    break
                batch.append(self._queue.popleft())
        return batch
