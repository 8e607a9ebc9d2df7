"""Keys that load one service together get their shares of it: by the order in which jobs are really claimed."""

import pytest
import sqlalchemy as sa

from inference.access.model import ANYBODY, Limits, Principal, Reach, Role, Scope
from inference.access.sharing import Sharing
from inference.ids import DEFAULT_TENANT
from inference.jobs.commit import GroupCommit
from inference.jobs.fair import FairOrder
from inference.jobs.model import Claimant, JobSpec
from inference.jobs.ports import JobPorts
from inference.jobs.submit import submit
from inference.serving.model import Profile, Service, ServiceConfig, ServiceState
from inference.settings import JobsSettings
from inference.store import tables
from inference.store.database import Database
from inference.store.jobs import SqlJobs
from tests.contract.jobs import SERVICE
from tests.fakes import Silent
from tests.fakes_access import FakeCounts

NOW = 1_800_000_000.0


class OneService:
    """`Directory` and `ProfileStore` of one service that needs a millisecond a row."""

    service = Service(
        id=SERVICE,
        tenant_id=DEFAULT_TENANT,
        name="s",
        model_id="a" * 32,
        state=ServiceState.RUNNING,
        config=ServiceConfig(),
        revision=1,
        created_at=0.0,
        updated_at=0.0,
    )

    def find(self, scope, service_id):
        return self.service, None

    def of_model(self, model_id):
        curve = ((1, 5.0, 6.0), (10, 10.0, 12.0), (100, 300.0, 400.0))
        return [Profile(model_id=model_id, device_kind="cpu", provider="", max_batch=10, curve=curve, measured_at=1.0)]


@pytest.fixture
def ports(store: SqlJobs, monkeypatch):
    """The real store, whose clock stands still, so that no job is late for the one before it."""
    monkeypatch.setattr(store, "now_s", lambda: NOW)
    silent, one = Silent(), OneService()
    return JobPorts(
        store=store,
        commit=GroupCommit(store, silent, JobsSettings()),
        admission=silent,
        fair=FairOrder(one, Sharing(FakeCounts(), every_s=0)),
        bell=silent,
        hot=silent,
        directory=one,
        settings=JobsSettings(),
    )


def holder(key_id, weight=1.0):
    return Principal(
        name=key_id,
        role=Role.SUBMITTER,
        scope=Scope(DEFAULT_TENANT),
        reach=Reach.TENANT,
        key_id=key_id,
        limits=Limits(weight=weight),
    )


A, B = holder("a"), holder("b")


def send(ports, by, count, **options):
    specs = [JobSpec(payload=b"", rows=1, bucket="", **options) for _ in range(count)]
    return submit(ports, by=by, service_id=SERVICE, specs=specs).job_ids


def claimed_until(ports, claimant: Claimant, wanted):
    """The keys of the jobs in the order in which they are claimed, until all wanted ones are."""
    left, keys = set(wanted), []
    while left:
        for job in ports.store.claim(claimant, max_rows=20).jobs:
            if left:
                keys.append(job.key_id)
                left.discard(job.id)
    return keys


@pytest.mark.parametrize(("weight", "before_its_last"), [(1.0, 100), (3.0, 33), (0.5, 200)])
def test_a_small_sender_waits_for_its_share_of_a_large_one_s_jobs(ports, by: Claimant, weight, before_its_last):
    send(ports, A, 10_000)

    mine = send(ports, holder("b", weight), 100)

    assert claimed_until(ports, by, mine).count("a") == pytest.approx(before_its_last, abs=3)


def test_without_keys_jobs_stand_where_they_came(ports, database: Database):
    send(ports, ANYBODY, 300)

    with database.read() as connection:
        assert set(connection.execute(sa.select(tables.jobs.c.order_key)).scalars()) == {NOW}


def test_a_key_alone_keeps_its_order(ports, by: Claimant):
    sent = [job_id for _ in range(5) for job_id in send(ports, A, 20)]

    claimed = [job.id for _ in range(5) for job in ports.store.claim(by, max_rows=20).jobs]

    assert claimed == sent


def test_an_urgent_job_goes_before_its_own_key_s_backlog_and_all_others(ports, by: Claimant):
    send(ports, A, 500)
    send(ports, B, 500)

    urgent = send(ports, A, 1, priority=9)

    assert len(claimed_until(ports, by, urgent)) == 1


def test_a_deadline_does_not_wait_for_the_place_in_its_key_s_backlog(ports, by: Claimant):
    send(ports, A, 500)

    due = send(ports, A, 1, deadline=NOW + 0.5)

    assert len(claimed_until(ports, by, due)) == 1


def test_the_time_of_submission_stays_true(ports, by: Claimant):
    sent = send(ports, A, 100)

    assert {ports.store.get(A.scope, job_id).created_at for job_id in sent} == {NOW}
