"""What is held is counted once, what is used of it is found again, and together they are the bill."""

import json
import threading
import time

import pytest
import sqlalchemy as sa

from inference.access.acting import acting
from inference.costs import budgets, query, sample
from inference.costs.model import Budget, CostGroup, Level, Period, Price, Purchase
from inference.costs.ports import CostPorts
from inference.errors import BudgetNotFound
from inference.ids import DEFAULT_TENANT, new_id
from inference.jobs.model import Claimant, JobState
from inference.serving.model import Observed
from inference.settings import CostsSettings
from inference.store import tables
from inference.store.budgets import SqlBudgets, SqlPrices
from inference.store.costs import SqlCosts
from inference.store.database import Database
from inference.store.instances import SqlInstances
from inference.store.jobs import SqlJobs
from inference.store.nodes import SqlNodes
from inference.store.replicas import SqlReplicas
from tests.contract import jobs
from tests.contract.audits import WHO, recorded
from tests.contract.jobs import SERVICE, completed, ended, job, queue
from tests.contract.serving import make_replica

NODE = "host/1"


@pytest.fixture
def ports(database: Database) -> CostPorts:
    return CostPorts(
        store=SqlCosts(database, silence_s=60.0, threads=1),
        prices=SqlPrices(database),
        budgets=SqlBudgets(database),
        settings=CostsSettings(sample_s=60.0),
        now_s=time.time,
    )


def change(database: Database, table: sa.Table, row_id: str, **values: object) -> None:
    with database.write() as connection:
        connection.execute(table.update().where(table.c.id == row_id).values(**values))


def begin(database: Database, ports: CostPorts, *, ago_s: float) -> None:
    """The last sample was so long ago."""
    sample.run(ports)
    with database.write() as connection:
        connection.execute(sa.text("UPDATE ticks SET taken_at = taken_at - :s WHERE name = 'costs'"), {"s": ago_s})


def replica(
    database: Database, service_id=SERVICE, *, device="cpu", purchase="on_demand", ordinal=0, **needs
) -> Claimant:
    """A ready replica of one instance on a living node; the instance."""
    SqlNodes(database).beat(NODE, host="h", inventory={"purchase": purchase})
    made = make_replica(service_id, ordinal, node_id=NODE)
    SqlReplicas(database).insert(made)
    change(database, tables.replicas, made.id, device=device, observed=Observed.READY.value, instances=1)
    change(database, tables.services, service_id, config=json.dumps({"requirements": needs}))
    instance_id, generation = SqlInstances(database).open(
        service_id=service_id, replica_id=made.id, slot=0, replica_generation=0, pid=1, lease_s=60.0
    )
    return Claimant(
        service_id=service_id, instance_id=instance_id, generation=generation, worker="w", model_version="1.0.0"
    )


def work(store: SqlJobs, by: Claimant, count: int, *, seconds: float, state=JobState.COMPLETED) -> list[str]:
    ids = queue(store, *(job(service_id=by.service_id) for _ in range(count)))
    claimed = store.claim(by, max_rows=count).jobs
    now = time.time()
    times = {"started_at": now - seconds, "ended_at": now, "batch_size": count}
    store.finish(
        by, [ended(one, state, **times) if state is JobState.FAILED else completed(one, **times) for one in claimed]
    )
    return ids


def found(ports: CostPorts, by=CostGroup.SERVICE, tenant_id=None):
    today = int(time.time() // 86_400)
    return list(ports.store.find(tenant_id, day_from=today - 1, day_to=today + 2, by=by))


def test_what_is_held_is_added_once_a_period(database: Database, store: SqlJobs, ports: CostPorts):
    replica(database, cpu=2.0)
    begin(database, ports, ago_s=60.0)

    first, second = sample.run(ports), sample.run(ports)

    (cost,) = found(ports)
    assert (first, second) == (True, False)
    assert (cost.group, cost.name) == (SERVICE, f"service {SERVICE}")
    assert cost.held_s == pytest.approx(120, abs=2)
    assert cost.money == pytest.approx(120 / 3600 * 0.045, rel=0.02)


def test_of_many_who_sample_at_once_one_does(database: Database, store: SqlJobs, ports: CostPorts):
    replica(database)
    begin(database, ports, ago_s=100.0)
    together, done = threading.Barrier(4), []

    def run() -> None:
        together.wait()
        done.append(sample.run(ports))

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(done) == [False, False, False, True]
    assert found(ports)[0].held_s == pytest.approx(100, abs=5)


def test_jobs_and_idle_time_make_up_the_bill(database: Database, store: SqlJobs, ports: CostPorts):
    by = replica(database, cpu=4.0)
    begin(database, ports, ago_s=100.0)

    ids = work(store, by, 3, seconds=6.0) + work(store, by, 2, seconds=4.0, state=JobState.FAILED)
    sample.run(ports)

    (cost,) = found(ports)
    of_jobs = [query.of_job(ports, job_id) for job_id in ids]
    assert (cost.jobs, cost.rows) == (5, 5)
    assert cost.used_s == pytest.approx(40, rel=1e-6)
    assert sum(one.money for one in of_jobs) == pytest.approx(cost.used_money, rel=1e-6)
    assert sum(one.cpu_s for one in of_jobs) == pytest.approx(cost.used_s, rel=1e-6)
    assert cost.money > cost.used_money > 0
    for group in CostGroup:
        assert sum(one.money for one in found(ports, group)) == pytest.approx(cost.money)
        assert sum(one.used_s for one in found(ports, group)) == pytest.approx(cost.used_s)


def test_a_shared_spot_card_is_shared_out_and_priced(database: Database, store: SqlJobs, ports: CostPorts):
    jobs.add_service(database, "6" * 32, tenant_id="other")
    with database.write() as connection:
        card = {"node_id": NODE, "uuid": "GPU-1", "index": 0, "name": "NVIDIA A100-SXM4-80GB", "memory_bytes": 80 << 30}
        connection.execute(
            tables.devices.insert(), card | {"source": "static", "state": "ok", "figures": "{}", "reported_at": 0.0}
        )
    by = replica(database, device="GPU-1", purchase="spot", gpu=1, gpu_memory_bytes=20 << 30, cpu=2.0)
    replica(database, "6" * 32, device="GPU-1", purchase="spot")
    begin(database, ports, ago_s=360.0)

    (job_id,) = work(store, by, 1, seconds=10.0)
    sample.run(ports)

    part, rest = found(ports)
    (device,) = found(ports, CostGroup.DEVICE)
    assert (device.group, device.purchase) == ("NVIDIA A100-SXM4-80GB", "spot")
    assert part.held_s == pytest.approx(90, abs=2)
    assert rest.held_s == pytest.approx(270, abs=4)
    assert device.money == pytest.approx(device.held_s / 3600 * 3.0 * 0.35)
    assert [one.group for one in found(ports, CostGroup.TENANT, "other")] == ["other"]
    cost = query.of_job(ports, job_id)
    assert (cost.gpu_s, cost.cpu_s) == (pytest.approx(2.5), pytest.approx(20.0))
    assert cost.money == pytest.approx(2.5 / 3600 * 3.0 * 0.35)


def test_what_stands_on_a_silent_node_is_not_charged(database: Database, store: SqlJobs, ports: CostPorts):
    replica(database)
    begin(database, ports, ago_s=100.0)
    change(database, tables.nodes, NODE, heartbeat_at=0.0)

    sample.run(ports)

    assert found(ports) == []


def test_a_job_costs_what_was_the_price_when_it_ran(database: Database, store: SqlJobs, ports: CostPorts):
    by = replica(database)
    sample.run(ports)
    (before,) = work(store, by, 1, seconds=3600.0)
    with acting(WHO):
        ports.prices.put([Price(device_kind="cpu", purchase=Purchase.ON_DEMAND, per_hour=9.0)])
    (after,) = work(store, by, 1, seconds=3600.0)

    assert query.of_job(ports, before).money == pytest.approx(0.045)
    assert query.of_job(ports, after).money == pytest.approx(9.0)
    assert [(record.action, record.object_id) for record in recorded(database)] == [("price.set", "cpu")]


def make_budget(**changes) -> Budget:
    return Budget(**{"id": new_id(), "tenant_id": DEFAULT_TENANT, "service_id": SERVICE, "hard": 1.0, **changes})


def test_a_budget_is_judged_once_and_told_among_the_services_events(
    database: Database, store: SqlJobs, ports: CostPorts
):
    replica(database, cpu=1000.0)
    budgets.put(ports, make_budget(soft=0.1))
    begin(database, ports, ago_s=100.0)

    sample.run(ports)
    budgets.judge_all(ports)

    (standing,) = budgets.find(ports, None)
    with database.read() as connection:
        (event,) = connection.execute(sa.select(tables.service_events)).all()
    assert standing.budget.level is Level.HARD
    assert standing.spent == pytest.approx(1.25, rel=0.05)
    assert "new tasks of priority 4 and below are refused" in event.reason
    assert (event.from_state, event.to_state) == ("running", "running")
    assert [one.service_id for one in ports.budgets.exhausted()] == [SERVICE]


def test_a_limit_that_was_reached_in_the_last_period_holds_no_more(
    database: Database, store: SqlJobs, ports: CostPorts
):
    standing = budgets.put(ports, make_budget(hard=0.0, period=Period.DAY))
    then = ports.budgets.exhausted()

    change(database, tables.budgets, standing.budget.id, judged_for=standing.begins_at - 86_400)

    assert len(then) == 1
    assert ports.budgets.exhausted() == []


def test_a_budget_takes_the_place_of_the_one_before_it(database: Database, ports: CostPorts):
    with acting(WHO):
        first = budgets.put(ports, make_budget(hard=0.0))
        second = budgets.put(ports, make_budget(hard=50.0, low_priority=2))
    of_system = budgets.put(ports, make_budget(of_system=True))

    assert first.budget.level is Level.HARD
    assert (second.budget.id, second.budget.hard, second.budget.level) == (first.budget.id, 50.0, Level.OK)
    assert of_system.budget.id != first.budget.id
    assert [record.action for record in recorded(database)] == ["budget.set", "budget.set"]
    assert (recorded(database)[-1].before, recorded(database)[-1].after) == (
        {"hard": 0.0, "low_priority": 4},
        {"hard": 50.0, "low_priority": 2},
    )


def test_another_tenants_budget_does_not_exist(ports: CostPorts):
    standing = budgets.put(ports, make_budget())

    assert budgets.find(ports, "other") == []
    with pytest.raises(BudgetNotFound):
        budgets.delete(ports, tenant_id="other", budget_id=standing.budget.id, by_system=True)
    budgets.delete(ports, tenant_id=DEFAULT_TENANT, budget_id=standing.budget.id, by_system=False)
    assert budgets.find(ports, None) == []
