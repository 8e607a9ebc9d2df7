"""The drain's loop over a store, an engine and a Redis in memory."""

import time

import msgspec
import prometheus_client
import pytest

from inference.errors import NoRoom, StoreUnavailable
from inference.jobs.choose import Candidate, choose
from inference.jobs.drain import Drain, Ended
from inference.jobs.execute import Batch
from inference.jobs.model import Claim, Claimant, JobState, JobView, Moved, Outcome
from tests.fakes_jobs import bare_ports
from tests.unit.jobs.test_execute import claimed

ME = Claimant(service_id="s", instance_id="i", generation=1, worker="w", model_version="1.0.0")


class Queue:
    """A job store of one service: claims in order, remembers every call."""

    after_release = JobState.PENDING

    def __init__(self, jobs):
        self.pending, self.finished, self.released = list(jobs), {}, []
        self.claims, self.is_away, self.lost = [], 0, set()
        self.disowned = []

    def now_s(self):
        return 10.0

    def claim(self, by, *, max_rows, min_rows=1, is_ahead=False):
        queue = [Candidate(id=j.id, bucket=j.bucket, rows=j.rows, batch_cap=0) for j in self.pending[: max_rows + 1]]
        choice = choose(queue, max_rows=max_rows, min_rows=min_rows, is_ahead=is_ahead)
        taken = [j for j in self.pending if j.id in {c.id for c in choice.taken}]
        self.pending = [j for j in self.pending if j not in taken]
        self.claims.append((len(taken), is_ahead))
        return Claim(jobs=tuple(taken), is_full=choice.is_full)

    def finish(self, by, outcomes, *, max_rows=0, min_rows=1, is_ahead=False, keep=None):
        if self.is_away:
            self.is_away -= 1
            raise StoreUnavailable("away", part="sql")
        moved = {o.job.id: Moved(state=o.state, completed_at=11.0) for o in outcomes if o.job.id not in self.lost}
        self.finished |= moved
        claim = self.claim(by, max_rows=max_rows, min_rows=min_rows, is_ahead=is_ahead) if max_rows else Claim()
        return moved, claim

    def release(self, by, jobs):
        self.released += [job.id for job in jobs]
        return {job.id: self.after_release for job in jobs}

    def disown(self, by):
        self.disowned.append(set(self.finished))
        return {}

    def views(self, job_ids):
        ends = {"service_id": "s", "state": JobState.CANCELLED, "priority": 0, "attempts": 0, "created_at": 1.0}
        return [("default", JobView(id=job_id, **ends)) for job_id in job_ids]

    def has_waiting(self, service_id):
        return bool(self.pending)


class Hot(list):
    def put(self, tenant_id, service_id, views):
        self.extend(views)


class Hands:
    """Answers every job; `on_run` may interfere."""

    claimant, max_wait_s = ME, 0.0

    def __init__(self, max_rows=4, ahead=False, on_run=None):
        self.max_rows, self.ahead, self.on_run = max_rows, ahead, on_run
        self.ran, self.phases, self.stopping = [], [], False

    def prepare(self, jobs):
        return Batch(jobs=tuple(jobs), inputs={})

    def run(self, batch):
        self.ran.append([job.id for job in batch.jobs])
        if self.on_run:
            self.on_run()
        return [
            Outcome(
                job=job,
                state=JobState.COMPLETED,
                started_at=10.0,
                ended_at=10.5,
                batch_size=len(batch.jobs),
                result=b"{}",
            )
            for job in batch.jobs
        ]

    def may_claim_ahead(self):
        return self.ahead

    def is_stopping(self):
        return self.stopping

    def enter(self, phase, *, limit_s, jobs=0):
        self.phases.append(phase)

    def told(self, outcomes, moved):
        pass


def jobs(count, **changes):
    return [msgspec.structs.replace(claimed(f"{i:03}", [[1.0]]), **changes) for i in range(count)]


def drain(queue, hands, *, seconds=60):
    hot = Hot()
    ports = bare_ports(queue, hot=hot, directory=NoService())
    ended = Drain(ports, hands, "default").work(until_s=time.monotonic() + seconds)
    return ended, hot


class NoService:
    def find(self, scope, service_id):
        raise StoreUnavailable("away", part="sql")


@pytest.mark.parametrize("ahead", [False, True])
@pytest.mark.parametrize("count", [0, 1, 4, 5, 8, 23])
def test_the_whole_queue_is_run_in_order_and_told(count, ahead):
    queue, hands = Queue(jobs(count)), Hands(ahead=ahead)

    ended, hot = drain(queue, hands)

    assert ended is Ended.EMPTY
    assert [name for batch in hands.ran for name in batch] == [f"{i:03}" for i in range(count)]
    assert [view.id for view in hot] == [f"{i:03}" for i in range(count)]
    assert len(queue.finished) == count


def test_only_whole_batches_are_claimed_ahead():
    queue, hands = Queue(jobs(11)), Hands(ahead=True)

    drain(queue, hands)

    assert [size for size, is_ahead in queue.claims if is_ahead and size] == [4]
    assert [len(batch) for batch in hands.ran] == [4, 4, 3]


def test_a_stop_ends_the_drain_at_the_batch_and_gives_back_what_was_claimed_ahead():
    queue = Queue(jobs(20))
    hands = Hands(ahead=True, on_run=lambda: setattr(hands, "stopping", True))

    ended, _ = drain(queue, hands)

    assert ended is Ended.STOPPING
    assert hands.ran == [["000", "001", "002", "003"]]
    assert set(queue.finished) == set(hands.ran[0])
    assert len(queue.released) + len(queue.pending) == 16


def test_the_quantum_ends_a_drain_whose_queue_never_does():
    queue = Queue(jobs(50))
    hands = Hands(on_run=lambda: time.sleep(0.03))

    ended, _ = drain(queue, hands, seconds=0.05)

    assert ended is Ended.TIME
    assert 0 < len(queue.finished) < 50


def test_an_attempt_that_was_fenced_is_not_told():
    queue, hands = Queue(jobs(3)), Hands()
    queue.lost.add("001")

    _, hot = drain(queue, hands)

    assert [view.id for view in hot] == ["000", "002"]


def test_results_wait_for_a_database_that_is_away():
    queue, hands = Queue(jobs(2)), Hands()
    queue.is_away = 2

    ended, hot = drain(queue, hands)

    assert ended is Ended.EMPTY
    assert len(hot) == 2
    assert len(hands.ran) == 1


def test_after_an_answer_was_lost_the_instance_gives_back_what_it_does_not_know_of():
    queue, hands = Queue(jobs(2)), Hands()
    queue.is_away = 1

    drain(queue, hands)

    assert queue.disowned == [{"000", "001"}], "once all that it knew of was finished"


def test_a_job_claimed_ahead_whose_deadline_passed_goes_back_unstarted():
    late = jobs(12)
    late[4:8] = [msgspec.structs.replace(job, deadline=9.0) for job in late[4:8]]
    queue, hands = Queue(late), Hands(ahead=True)

    drain(queue, hands)

    assert queue.released == ["004", "005", "006", "007"]


def test_jobs_that_end_when_they_are_given_back_are_told_and_counted():
    late = jobs(12)
    late[4:8] = [msgspec.structs.replace(job, deadline=9.0) for job in late[4:8]]
    queue = Queue(late)
    queue.after_release = JobState.CANCELLED
    before = counted("cancelled")

    _, hot = drain(queue, Hands(ahead=True))

    assert [view.id for view in hot if view.state is JobState.CANCELLED] == ["004", "005", "006", "007"]
    assert counted("cancelled") - before == 4


def counted(state):
    """What the counter of finished jobs says of this test's service."""
    return (
        prometheus_client.REGISTRY.get_sample_value("penstock_jobs_finished_total", {"service": "s", "state": state})
        or 0.0
    )


def test_a_claim_whose_answer_was_lost_is_remembered_until_it_is_given_back():
    class Away(Queue):
        def claim(self, by, **limits):
            raise StoreUnavailable("the connection was lost in COMMIT", part="sql")

    drain = Drain(bare_ports(Away([]), hot=Hot(), directory=NoService()), Hands(), "default")

    drain.work(until_s=time.monotonic() + 60)

    assert drain.is_unsure


def test_a_release_that_failed_is_made_up_for_by_the_next_finish():
    class Deaf(Queue):
        def release(self, by, jobs):
            raise StoreUnavailable("away", part="sql")

    late = jobs(12)
    late[4:8] = [msgspec.structs.replace(job, deadline=9.0) for job in late[4:8]]
    queue = Deaf(late)

    drain(queue, Hands(ahead=True))

    assert queue.disowned == [{"000", "001", "002", "003"}], "after the batch that ran was finished"


class Late(Queue):
    """The first two claims find nothing but what came too late, which cannot be read for the announcement."""

    late = 2

    def claim(self, by, **limits):
        if self.late:
            self.late -= 1
            return Claim(expired_ids=("old",))
        return super().claim(by, **limits)

    def views(self, job_ids):
        raise StoreUnavailable("away", part="sql")


def test_jobs_behind_a_row_of_expired_ones_are_run_in_the_same_drain():
    queue = Late(jobs(3))

    ended, hot = drain(queue, Hands())

    assert ended is Ended.EMPTY
    assert len(hot) == 3


def test_results_wait_for_a_disk_that_is_full():
    class Full(Queue):
        def finish(self, by, outcomes, **limits):
            if self.is_away:
                self.is_away -= 1
                raise NoRoom("The database's disk is full.", part="sql")
            return super().finish(by, outcomes, **limits)

    queue = Full(jobs(2))
    queue.is_away = 1

    _, hot = drain(queue, Hands())

    assert len(hot) == 2
