"""What the autoscaler reads of jobs and writes of targets, on both databases; and that no backlog makes it dear."""

import dataclasses
import json
import time

import pytest
import sqlalchemy as sa

from inference.access.model import Scope
from inference.errors import ServiceNotFound
from inference.ids import new_id
from inference.scaling.model import Unfinished
from inference.scaling.ports import Kept, Target
from inference.serving.model import AutoScaling, Observed, ServiceConfig, ServiceState
from inference.store import tables
from inference.store.database import Database
from inference.store.jobs import SqlJobs
from inference.store.replicas import SqlReplicas
from inference.store.scaling import HEAD, SqlScaling
from inference.store.services import SqlServices
from tests.contract import jobs
from tests.contract.jobs import completed, job, queue
from tests.contract.serving import make_replica, make_service

SCALED = ServiceConfig(auto_scaling=AutoScaling(enabled=True, min_replicas=0, max_replicas=4))


@pytest.fixture
def scaling(database: Database) -> SqlScaling:
    return SqlScaling(database)


@pytest.fixture
def services(database: Database) -> SqlServices:
    return SqlServices(database)


def test_only_services_that_can_be_scaled_or_rest_are_watched(scaling: SqlScaling, services: SqlServices):
    made = {
        name: make_service(name, state=state, config=config)
        for name, state, config in (
            ("scaled", ServiceState.RUNNING, SCALED),
            ("lazy", ServiceState.RUNNING, ServiceConfig(idle_ttl_s=60.0)),
            ("plain", ServiceState.RUNNING, ServiceConfig(raw={"auto_scaling": {"enabled": False}})),
            ("stopped", ServiceState.STOPPED, SCALED),
        )
    }
    for service in made.values():
        services.insert(service)

    found = scaling.watched()

    assert {service.name for service in found} == {"scaled", "lazy"}
    assert scaling.watched() == found


def test_a_glance_tells_what_waits_runs_and_came_last(scaling: SqlScaling, store: SqlJobs, by):
    before = scaling.glances([jobs.SERVICE])
    ids = queue(store, job(), job())
    waiting = scaling.glances([jobs.SERVICE, "0" * 32])
    store.claim(by, max_rows=2)
    running = scaling.glances([jobs.SERVICE])

    assert (before[jobs.SERVICE].newest_id, before[jobs.SERVICE].waits, before[jobs.SERVICE].runs) == ("", False, False)
    assert (waiting[jobs.SERVICE].newest_id, waiting[jobs.SERVICE].waits) == (max(ids), True)
    assert waiting["0" * 32].newest_id == ""
    assert (running[jobs.SERVICE].waits, running[jobs.SERVICE].runs) == (False, True)


def test_unfinished_jobs_are_counted_by_priority_running_ones_included(scaling: SqlScaling, store: SqlJobs, by):
    queue(store, job(priority=9, order_key=1.0), *(job(priority=p, order_key=2.0) for p in (5, 5, 1)))
    store.claim(by, max_rows=1)

    found = {part.priority: part.jobs for part in scaling.unfinished([jobs.SERVICE], most=100)[jobs.SERVICE]}

    assert found == {9: 1, 5: 2, 1: 1}
    assert all(0 <= part.oldest_s < 60 for part in scaling.unfinished([jobs.SERVICE], most=100)[jobs.SERVICE])


def test_behind_the_head_of_a_long_queue_jobs_are_only_counted(scaling: SqlScaling, store: SqlJobs):
    queue(
        store,
        *(job(priority=5, order_key=1.0) for _ in range(HEAD)),
        *(job(priority=1, order_key=2.0) for _ in range(50)),
    )

    found = scaling.unfinished([jobs.SERVICE], most=1_000)[jobs.SERVICE]
    capped = scaling.unfinished([jobs.SERVICE], most=120)[jobs.SERVICE]

    assert [(part.priority, part.jobs) for part in found] == [(5, HEAD + 50)]
    assert sum(part.jobs for part in capped) == 120
    assert isinstance(found[0], Unfinished)


def test_arrivals_are_counted_by_the_time_in_their_ids(scaling: SqlScaling, store: SqlJobs):
    began = time.time() - 0.01
    queue(store, *(job() for _ in range(3)))
    now = time.time() + 0.01

    assert scaling.arrivals([jobs.SERVICE], since=began, until=now) == {jobs.SERVICE: 3}
    assert scaling.arrivals([jobs.SERVICE], since=now, until=now + 60) == {jobs.SERVICE: 0}
    assert all(began - 0.01 <= at <= now for at in scaling.made_at(jobs.SERVICE, limit=10))


def test_what_an_answer_to_an_equal_input_has_completed_is_no_arrival(
    scaling: SqlScaling, store: SqlJobs, database: Database
):
    began = time.time() - 0.01
    hit, *_ = queue(store, *(job() for _ in range(3)))
    jobs.change(database, hit, state="completed", completed_at=time.time())
    now = time.time() + 0.01
    config = json.dumps({"coalesce": True, "auto_scaling": {"enabled": True}})
    with database.write() as connection:
        connection.execute(tables.services.update().values(config=config))

    scaling.watched()

    assert scaling.arrivals([jobs.SERVICE], since=began, until=now) == {jobs.SERVICE: 2}


def test_what_ended_is_told_newest_first_with_its_share_of_the_engine(scaling: SqlScaling, store: SqlJobs, by):
    queue(store, *(job() for _ in range(3)))
    since = scaling.now_s()
    for _ in range(2):
        claim = store.claim(by, max_rows=2)
        store.finish(by, [completed(one, batch_size=len(claim.jobs)) for one in claim.jobs])

    found = scaling.ended(since=since, most=10)

    assert [one.batch_size for one in found] == [1, 2, 2]
    assert found[0].at >= found[-1].at
    assert all(one.service_id == jobs.SERVICE and one.run_s >= 0 for one in found)
    assert len(scaling.ended(since=since, most=1)) == 1
    assert scaling.ended(since=found[0].at, most=10) == []


def test_a_decision_is_written_with_its_record_unless_something_changed(scaling: SqlScaling, services: SqlServices):
    service = make_service("scaled", state=ServiceState.RUNNING, config=SCALED)
    services.insert(service)
    target = Target(replicas=2, instances=1)

    first = scaling.decide(service, target, policy="slo_drain", reason="1 -> 2: because", signals="{}")
    again = scaling.decide(service, target, policy="slo_drain", reason="1 -> 2: because", signals="{}")

    after = services.of_any_tenant(service.id)
    (record,) = scaling.decisions(Scope("t"), service_id=service.id)
    assert (first, again) == (True, False)
    assert (after.target_replicas, after.wanted_replicas, after.target_reason) == (2, 2, "1 -> 2: because")
    assert (record.from_replicas, record.to_replicas, record.policy) == (1, 2, "slo_drain")
    assert scaling.decide(after, Target(replicas=None, instances=None), policy="wake", reason="r", signals="{}")
    assert services.of_any_tenant(service.id).target_reason is None


def test_a_service_at_rest_is_woken_and_any_other_keeps_its_target(scaling: SqlScaling, services: SqlServices):
    service = make_service("scaled", state=ServiceState.RUNNING, config=SCALED)
    services.insert(service)
    scaling.decide(service, Target(replicas=2, instances=1), policy="p", reason="r", signals="{}")
    busy = services.wake(Scope("t"), service.id)
    scaling.decide(busy, Target(replicas=0, instances=1), policy="p", reason="r", signals="{}")

    woken = services.wake(Scope("t"), service.id)

    assert busy.target_replicas == 2
    assert (woken.target_replicas, woken.wanted_replicas, woken.target_reason) == (None, 1, None)


def test_the_history_tells_of_rests_and_wakes_and_of_no_other_decision(scaling: SqlScaling, services: SqlServices):
    service = make_service("scaled", state=ServiceState.RUNNING, config=SCALED)
    services.insert(service)
    sizes = [(2, "busy"), (0, "idle for 60 s"), (1, "a job waits"), (0, "idle for 60 s")]
    for replicas, reason in sizes:
        now = services.of_any_tenant(service.id)
        scaling.decide(now, Target(replicas=replicas, instances=1), policy="p", reason=reason, signals="{}")
    services.wake(Scope("t"), service.id)
    services.wake(Scope("t"), service.id)

    told = [(event.from_state, event.to_state, event.reason) for event in services.events(Scope("t"), service.id)]

    assert told[:-1] == [
        ("running", "running", "wakes: asked to be there"),
        ("running", "running", "rests: idle for 60 s"),
        ("running", "running", "wakes: a job waits"),
        ("running", "running", "rests: idle for 60 s"),
    ]
    scaling.forget(keep_s=-60)
    assert [event.reason for event in services.events(Scope("t"), service.id)] == ["created"]


def test_a_stopped_service_is_not_scaled(scaling: SqlScaling, services: SqlServices):
    service = make_service("scaled", state=ServiceState.STOPPED, config=SCALED)
    services.insert(service)

    assert not scaling.decide(service, Target(replicas=1, instances=1), policy="p", reason="r", signals="{}")


def test_decisions_are_seen_by_their_tenant_alone_and_forgotten_in_time(
    scaling: SqlScaling, services: SqlServices, database: Database
):
    service = make_service("scaled", state=ServiceState.RUNNING, config=SCALED)
    services.insert(service)
    scaling.decide(service, Target(replicas=2, instances=1), policy="p", reason="r", signals="{}")

    with pytest.raises(ServiceNotFound):
        scaling.decisions(Scope("other"), service_id=service.id)
    assert scaling.decisions(Scope("other")) == []
    assert len(scaling.decisions(Scope("t"))) == 1
    assert scaling.forget(keep_s=3600) == 0
    assert scaling.forget(keep_s=-60) == 1
    assert scaling.decisions(Scope("t")) == []


def test_what_was_kept_is_found_again_and_goes_with_its_service(scaling: SqlScaling, services: SqlServices):
    service = make_service("scaled", state=ServiceState.STOPPED, config=SCALED)
    services.insert(service)

    scaling.keep({service.id: Kept(memory="{}", start_s=1.5), new_id(): Kept()})
    scaling.keep({service.id: Kept(memory='{"a": 1}', start_s=2.5, work_s=0.1)})
    found = scaling.kept([service.id])
    services.delete(Scope("t"), service.id)

    assert found == {service.id: Kept(memory='{"a": 1}', start_s=2.5, work_s=0.1)}
    assert scaling.kept([service.id]) == {}


def test_a_replica_tells_when_it_began_was_ready_and_last_worked(scaling: SqlScaling, database: Database):
    replicas, replica = SqlReplicas(database), make_replica()
    replicas.insert(replica)
    generation = replicas.begin(replica.id)
    starting = scaling.replicas(["s"])[0]
    replicas.report(replica.id, generation, observed=Observed.READY, idle_s=30.0)
    ready = scaling.replicas(["s"])[0]
    replicas.report(replica.id, generation, observed=Observed.READY, idle_s=0.0)
    busy = scaling.replicas(["s"])[0]

    assert starting.began_at is not None
    assert (starting.ready_at, starting.busy_at) == (None, None)
    assert ready.ready_at == busy.ready_at >= starting.began_at
    assert ready.reported_at - ready.busy_at == pytest.approx(30.0)
    assert busy.reported_at == pytest.approx(busy.busy_at)


def plans(database: Database, scaling: SqlScaling) -> str:
    bound = database.rows("r", ("id",), [(jobs.SERVICE,)])
    lines = []
    with database.read() as connection:
        for query in (scaling._glances, scaling._unfinished, scaling._arrivals):
            explain = "EXPLAIN QUERY PLAN " if database.is_sqlite else "EXPLAIN "
            values = bound | {"most": 10, "since": "0", "until": "1"}
            named = {name: values[name] for name in sa.text(query.text)._bindparams}
            lines += [" ".join(map(str, row)) for row in connection.execute(sa.text(explain + query.text), named)]
    return "\n".join(lines)


def test_no_figure_is_read_by_walking_through_all_jobs(scaling: SqlScaling, store: SqlJobs, database: Database):
    queue(store, *(job() for _ in range(20)))

    plan = plans(database, scaling)

    assert "SCAN j\n" not in plan + "\n"
    assert "SCAN h\n" not in plan + "\n"
    assert "Seq Scan on jobs" not in plan
    assert "ix_jobs_pending" in plan
    assert "ix_jobs_service_id" in plan


def test_a_service_whose_config_changed_meanwhile_is_decided_on_anew(scaling: SqlScaling, services: SqlServices):
    service = make_service("scaled", state=ServiceState.RUNNING, config=SCALED)
    services.insert(service)
    services.configure(Scope("t"), service.id, config=dataclasses.replace(SCALED, replicas=3), replicas_only=True)

    assert not scaling.decide(service, Target(replicas=2, instances=1), policy="p", reason="r", signals="{}")
