"""Large results, between the engine and the row."""

import dataclasses

import orjson
import pytest

from inference.clock import monotonic_s
from inference.errors import NoRoom, Unavailable
from inference.jobs import large, webhook
from inference.jobs.drain import Drain
from inference.jobs.large import LargeResults
from inference.jobs.model import JobState, JobView, ResultRef
from inference.notify.model import Delivery
from inference.tensors import to_json
from tests.fakes_jobs import bare_ports
from tests.fakes_registry import FakeBlobs
from tests.unit.jobs.test_drain import Hands, Hot, NoService, Queue, jobs


class Written(Queue):
    """Remembers what it was given to finish."""

    def finish(self, by, outcomes, **options):
        answer = super().finish(by, outcomes, **options)
        self.outcomes = [*getattr(self, "outcomes", []), *outcomes]
        return answer


class Flaky(FakeBlobs):
    """Full or away, for so many calls."""

    def __init__(self, *errors):
        super().__init__()
        self.errors, self.puts = list(errors), 0

    def put_bytes(self, content):
        self.puts += 1
        if self.errors:
            raise self.errors.pop(0)
        return super().put_bytes(content)


def run(queue, blobs, *, inline_bytes=1):
    hot = Hot()
    ports = bare_ports(queue, hot=hot, directory=NoService(), large=LargeResults(blobs, inline_bytes=inline_bytes))
    Drain(ports, Hands(), "default").work(until_s=monotonic_s() + 60)
    return hot


def test_a_result_over_the_limit_is_written_before_its_row_and_told_as_a_reference():
    queue, blobs = Written(jobs(2)), Flaky()

    hot = run(queue, blobs)

    refs = {outcome.result_ref for outcome in queue.outcomes}
    assert refs == {ResultRef(sha256=key, size_bytes=2) for key in blobs.contents}
    assert [(view.result, view.result_ref) for view in hot] == [(None, ref) for ref in refs for _ in range(2)]


def test_a_result_of_the_limit_stays_in_its_row():
    queue, blobs = Written(jobs(2)), Flaky()

    hot = run(queue, blobs, inline_bytes=2)

    assert blobs.puts == 0
    assert [(view.result, view.result_ref) for view in hot] == [(b"{}", None)] * 2


@pytest.mark.parametrize("error", [NoRoom("full", part="blobs"), Unavailable("away", part="blobs"), OSError("ill")])
def test_a_blob_store_that_is_ill_is_waited_for(error):
    queue, blobs = Written(jobs(1)), Flaky(error)

    run(queue, blobs)

    assert (blobs.puts, queue.finished["000"].state) == (2, JobState.COMPLETED)


def test_a_content_is_not_written_again_for_each_try_of_the_row_but_when_somebody_took_it_away():
    class Thief(Written):
        def finish(self, by, outcomes, **options):
            answer = super().finish(by, outcomes, **options)
            blobs.contents.clear()
            return answer

    queue, blobs = Thief(jobs(1)), Flaky()
    queue.is_away = 2

    run(queue, blobs)

    assert blobs.puts == 2  # once for three tries, and once more after the theft
    assert list(blobs.contents.values()) == [b"{}"]


def test_after_a_long_wait_for_the_database_the_content_is_made_fresh(monkeypatch):
    queue, blobs = Written(jobs(1)), Flaky()
    queue.is_away = 1
    monkeypatch.setattr(large, "AGAIN_S", 0.0)

    run(queue, blobs)

    assert blobs.puts == 2


def test_a_reference_is_read_through_up_to_a_limit():
    blobs = FakeBlobs()
    text = to_json({})
    stored = blobs.put_bytes(text)
    ends = {"service_id": "s", "state": JobState.COMPLETED, "priority": 0, "attempts": 1, "created_at": 1.0}
    ref = ResultRef(sha256=stored.key, size_bytes=stored.size_bytes)
    view = JobView(id="a", result_ref=ref, **ends)
    results = LargeResults(blobs, inline_bytes=1)

    assert results.read_through(view, limit_bytes=100).result == text
    assert results.read_through(view, limit_bytes=1) is view
    blobs.close()


def test_a_webhook_carries_the_reference():
    class Store:
        def views(self, job_ids):
            ref = ResultRef(sha256="ab" * 32, size_bytes=5)
            ends = {"service_id": "s", "state": JobState.COMPLETED, "priority": 0, "attempts": 1, "created_at": 1.0}
            return [("default", JobView(id=job_ids[0], result_ref=ref, **ends))]

    delivery = Delivery(**dict.fromkeys(Delivery.__dataclass_fields__, ""))
    delivery = dataclasses.replace(
        delivery, job_id="a", tenant_id="default", job_state="completed", event="finished", created_at=1.0
    )

    data = orjson.loads(webhook.body(Store(), delivery))["data"]

    assert data["result"] is None
    assert data["result_ref"] == {
        "url": "/api/v1/inference/tasks/a/result",
        "size_bytes": 5,
        "sha256": "ab" * 32,
    }
