"""Group commit: requests that come while a commit is under way share the next one."""

import threading
from collections import Counter, deque
from collections.abc import Container, Sequence

from inference.errors import PenstockError, StoreUnavailable
from inference.jobs.early import EarlyRings
from inference.jobs.model import Accepted, Submission
from inference.jobs.ports import Bell, JobStore
from inference.settings import JobsSettings
from inference.telemetry import metrics


def ring(bell: Bell, submissions: Sequence[Submission], answers: Sequence[object], early: Container[str] = ()) -> None:
    """After a commit: once for each service that got new jobs to run, however many requests brought them."""
    slots: dict[str, int] = {}
    for submission, answer in zip(submissions, answers, strict=True):
        if isinstance(answer, Accepted) and not answer.is_replay and len(answer.cached_ids) < len(answer.job_ids):
            slots[submission.jobs[0].service_id] = submission.slots
    for service_id, most in slots.items():
        if service_id not in early:
            bell.ring(service_id, slots=most)


def count(submissions: Sequence[Submission], answers: Sequence[object]) -> None:
    """In the metrics. When all have their answers: nobody should wait for it."""
    metrics.commits.inc()
    metrics.submissions.inc(len(submissions))
    fresh: Counter[str] = Counter()
    looked: Counter[tuple[str, str]] = Counter()
    for submission, answer in zip(submissions, answers, strict=True):
        if isinstance(answer, Accepted) and not answer.is_replay:
            service_id = submission.jobs[0].service_id
            fresh[service_id] += len(answer.job_ids)
            hits = len(answer.cached_ids)
            if submission.may_hit:
                looked[service_id, "hit"] += hits
                looked[service_id, "miss"] += len(answer.job_ids) - hits
    for service_id, jobs in fresh.items():
        metrics.submitted.labels(service_id).inc(jobs)
    for labels, jobs in looked.items():
        metrics.cache_lookups.labels(*labels).inc(jobs)


class Fill:
    """How full one commit is: it takes the first submission whatever its size, and further ones up to the limits."""

    __slots__ = ("_rows", "_settings", "_size")

    def __init__(self, settings: JobsSettings) -> None:
        self._settings = settings
        self._rows = self._size = 0

    def takes(self, submission: Submission) -> bool:
        """Whether there is room for it, which is then taken; ask no more after the first False."""
        is_first = not self._rows
        self._rows += len(submission.jobs)
        self._size += sum(len(job.payload) for job in submission.jobs)
        return is_first or (self._rows <= self._settings.commit_rows and self._size <= self._settings.commit_bytes)


class _Waiting:
    """`latch`: a held lock that is let go once; a quarter of an Event's cost, twice for each request."""

    __slots__ = ("answer", "latch", "leads", "submission")

    def __init__(self, submission: Submission) -> None:
        self.submission = submission
        self.latch = threading.Lock()
        self.latch.acquire()
        self.leads = False
        self.answer: Accepted | PenstockError | None = None


class GroupCommit:
    """`Commit` for any number of threads of one process.

    There is no thread and no timer behind it: whoever finds nobody committing commits for all who have gathered,
    then hands the lead to the first who came meanwhile. The bell rings after each commit. `commits` and
    `submissions` count what it did.
    """

    def __init__(self, store: JobStore, bell: Bell, settings: JobsSettings) -> None:
        self._store = store
        self._bell = bell
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
            me.latch.acquire()
        if leads or me.leads:
            self._lead()
        if me.answer is None:
            raise StoreUnavailable("The commit ended without an answer.", part="sql", retry_after_s=1)
        if isinstance(me.answer, PenstockError):
            raise me.answer
        return me.answer

    def _lead(self) -> None:
        batch = self._gather()
        submissions = [one.submission for one in batch]
        early = EarlyRings(self._bell, submissions)
        try:
            answers: Sequence[Accepted | PenstockError] = self._store.insert(submissions, soon=early.ring)
        except PenstockError as error:
            answers = [error] * len(batch)
        except BaseException:
            self._settle(batch, [None] * len(batch), early)
            raise
        self._settle(batch, answers, early)

    def _settle(
        self, batch: Sequence[_Waiting], answers: Sequence[Accepted | PenstockError | None], early: EarlyRings
    ) -> None:
        self.commits += 1
        self.submissions += len(batch)
        with self._lock:
            heir = self._queue[0] if self._queue else None
            self._is_led = heir is not None
        if heir is not None:
            heir.leads = True
            heir.latch.release()
        submissions = [one.submission for one in batch]
        ring(self._bell, submissions, answers, early.done)
        for one, answer in zip(batch, answers, strict=True):
            one.answer = answer
            one.latch.release()
        early.heed()
        count(submissions, answers)

    def _gather(self) -> list[_Waiting]:
        """The head of the queue, up to the limits of one commit; always at least one."""
        batch: list[_Waiting] = []
        fill = Fill(self._settings)
        with self._lock:
            while self._queue and fill.takes(self._queue[0].submission):
                batch.append(self._queue.popleft())
        return batch
