"""Cancelling: told once, counted once, recorded even when it is cut short."""

import prometheus_client
import pytest

from inference.access.model import Scope
from inference.errors import StoreUnavailable
from inference.jobs import cancel
from inference.jobs.model import JobState, JobView, Selection
from tests.fakes_jobs import bare_ports

SCOPE = Scope("default")


class Store:
    """Ten jobs that wait, cancelled two at a time; `fails_after` chunks the database goes away."""

    def __init__(self, fails_after=99):
        self.states = {f"{n}": JobState.PENDING for n in range(10)}
        self.noted, self.fails_after = [], fails_after

    def get(self, scope, job_id):
        return self._view(job_id)

    def views(self, job_ids):
        return [("default", self._view(job_id)) for job_id in job_ids]

    def _view(self, job_id):
        return JobView(id=job_id, service_id="svc", state=self.states[job_id], priority=0, attempts=0, created_at=1.0)

    def cancel(self, scope, job_id):
        self.states[job_id] = JobState.CANCELLED
        return JobState.CANCELLED

    def cancel_many(self, scope, which):
        for chunk in range(5):
            if chunk == self.fails_after:
                raise StoreUnavailable("away", part="sql")
            ids = [f"{2 * chunk}", f"{2 * chunk + 1}"]
            for job_id in ids:
                self.states[job_id] = JobState.CANCELLED
            yield dict.fromkeys(ids, JobState.CANCELLED)

    def note_cancelled(self, scope, which, *, cancelled, requested):
        self.noted.append((cancelled, requested))


class Hot(list):
    def put(self, tenant_id, service_id, views):
        self.extend(view.id for view in views)


class Directory:
    def find(self, scope, service_id):
        return None


def ports(store):
    return bare_ports(store, hot=Hot(), directory=Directory())


def counted():
    labels = {"service": "svc", "state": "cancelled"}
    return prometheus_client.REGISTRY.get_sample_value("penstock_jobs_finished_total", labels) or 0.0


def test_a_job_that_is_cancelled_twice_is_told_and_counted_once():
    made, before = ports(Store()), counted()

    for _ in range(2):
        assert cancel.cancel(made, scope=SCOPE, job_id="3") is JobState.CANCELLED

    assert made.hot == ["3"]
    assert counted() - before == 1


def test_all_that_is_cancelled_is_told_and_recorded_once():
    made = ports(Store())

    done = cancel.cancel_many(made, scope=SCOPE, which=Selection(service_id="svc"))

    assert (done.cancelled, done.requested, done.is_complete) == (10, 0, True)
    assert len(made.hot) == 10
    assert made.store.noted == [(10, 0)]


def test_a_call_whose_time_is_over_says_so_and_records_what_it_did():
    made = ports(Store())

    done = cancel.cancel_many(made, scope=SCOPE, which=Selection(service_id="svc"), budget_s=-1)

    assert (done.cancelled, done.is_complete, made.store.noted) == (2, False, [(2, 0)])


def test_what_was_cancelled_before_the_database_went_away_is_recorded():
    made = ports(Store(fails_after=3))

    with pytest.raises(StoreUnavailable):
        cancel.cancel_many(made, scope=SCOPE, which=Selection(service_id="svc"))

    assert made.store.noted == [(6, 0)]
