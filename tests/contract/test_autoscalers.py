"""Several control processes on one database: one of them decides, and each decision is taken once."""

from concurrent.futures import ThreadPoolExecutor

import sqlalchemy as sa

from inference.access.model import Scope
from inference.ids import DEFAULT_TENANT
from inference.scaling.ports import ScalingPorts
from inference.scaling.run import Autoscaler
from inference.serving.model import AutoScaling, ServiceConfig
from inference.store.database import Database
from inference.store.jobs import SqlJobs
from inference.store.profiles import SqlProfiles
from inference.store.scaling import SqlScaling
from inference.store.services import SqlServices
from inference.store.ticks import SqlTicks
from tests.contract import jobs
from tests.contract.jobs import job, queue


def autoscaler(database: Database, name: str) -> Autoscaler:
    store = SqlScaling(database)
    ports = ScalingPorts(store=store, turns=SqlTicks(database), profiles=SqlProfiles(database))
    return Autoscaler(ports, name=name)


def scaled(database: Database, **limits: int) -> Scope:
    scope, scaling = Scope(DEFAULT_TENANT), AutoScaling(enabled=True, **limits)
    config = ServiceConfig(auto_scaling=scaling, replicas=limits.get("min_replicas", 1))
    SqlServices(database).configure(scope, jobs.SERVICE, config=config, replicas_only=True)
    return scope


def test_of_several_autoscalers_one_decides_and_once(store: SqlJobs, database: Database):
    scope = scaled(database, min_replicas=2, max_replicas=4)
    queue(store, *(job() for _ in range(50)))
    with database.write() as connection:
        connection.execute(sa.text("UPDATE services SET target_replicas = 1, target_instances = 1"))

    with ThreadPoolExecutor(4) as pool:
        changed = list(pool.map(lambda number: autoscaler(database, f"control.{number}").turn(), range(8)))

    assert sum(changed) == 1
    assert len(SqlScaling(database).decisions(scope)) == 1


def test_a_service_at_rest_is_woken_once_however_many_see_its_job(store: SqlJobs, database: Database):
    scope = scaled(database, min_replicas=0, max_replicas=4)
    with database.write() as connection:
        connection.execute(sa.text("UPDATE services SET target_replicas = 0, target_instances = 1"))
    asleep = autoscaler(database, "control.0").turn()
    queue(store, job())

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: autoscaler(database, f"control.{number}").turn(), range(1, 9)))

    reasons = [decision.reason for decision in SqlScaling(database).decisions(scope)]
    assert asleep == 0
    assert reasons == ["0 -> 1: a job waits"]
    assert SqlServices(database).of_any_tenant(jobs.SERVICE).target_replicas == 1
