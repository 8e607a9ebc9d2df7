"""Services of all priorities come and go on a few cards, through the real reconciler and store: it always settles."""

from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inference.ids import new_id
from inference.serving import reconcile
from inference.serving.model import Desired, Observed, Requirements, Service, ServiceConfig, ServiceState
from inference.serving.ports import ServingPorts
from inference.settings import ServingSettings
from inference.store import tables
from inference.store.database import Database
from inference.store.devices import SqlDevices
from inference.store.leases import SqlLeases
from inference.store.nodes import SqlNodes
from inference.store.replicas import SqlReplicas
from inference.store.services import SqlServices

CARD_BYTES = 16
MOST_TURNS = 25
S = ServiceState

services = st.fixed_dictionaries(
    {
        "priority": st.integers(1, 10),
        "share": st.sampled_from([0, 4, 6, 10, 16]),
        "replicas": st.integers(1, 3),
        "preemptible": st.booleans(),
    }
)


class World:
    """Nodes whose agents do at once what they are told."""

    def __init__(self, database: Database, *, cards: int) -> None:
        self.database = database
        with database.write() as connection:
            for table in (tables.replicas, tables.leases, tables.services, tables.service_events, tables.nodes):
                connection.execute(sa.delete(table))
        unused: Any = None
        self.ports = ServingPorts(
            services=SqlServices(database),
            replicas=SqlReplicas(database),
            leases=SqlLeases(database),
            instances=unused,
            nodes=SqlNodes(database),
            devices=SqlDevices(database),
            ticks=unused,
            profiles=unused,
            deployments=unused,
            models=unused,
            kick=unused,
            settings=ServingSettings(residency_s=0),
        )
        gpus = [{"uuid": f"g{at}", "memory_bytes": CARD_BYTES, "source": "static"} for at in range(cards)]
        self.ports.nodes.beat("n1", host="h", inventory={"cpus": 2, "gpus": gpus})

    def add(self, *, priority: int, share: int, replicas: int, preemptible: bool) -> str:
        wants = Requirements(gpu=1, gpu_memory_bytes=share)  # a share of 0 is a card for itself
        config = ServiceConfig(replicas=replicas, requirements=wants, priority=priority, preemptible=preemptible)
        name = new_id()
        values = {"tenant_id": "t", "name": name, "model_id": "m", "revision": 1, "created_at": 1.0, "updated_at": 1.0}
        self.ports.services.insert(Service(id=name, state=S.DEPLOYING, config=config, **values))
        return name

    def obey(self) -> None:
        for row in self.ports.replicas.all():
            if row.desired is Desired.STOPPED and row.observed is not Observed.STOPPED:
                self.ports.replicas.report(row.id, row.generation, observed=Observed.STOPPED)
                continue
            is_new = row.desired is Desired.RUNNING and row.observed is Observed.PENDING
            if is_new and (generation := self.ports.replicas.begin(row.id)):
                self.ports.replicas.report(row.id, generation, observed=Observed.READY)

    def settle(self) -> None:
        """Until the reconciler has nothing to do any more; the sums of the leases hold all the while."""
        for _ in range(MOST_TURNS):
            done = reconcile.run(self.ports)
            self.check()
            if not done:
                return
            self.obey()
        raise AssertionError(f"it does not settle: {self.ports.services.watched()}")

    def check(self) -> None:
        held: dict[str, int] = {}
        for lease in self.ports.leases.all():
            held[lease.device] = held.get(lease.device, 0) + lease.held.card_bytes
        assert all(size <= CARD_BYTES for size in held.values()), held

    def told(self) -> "dict[str, tuple[Service, int]]":
        """Each service, and how many of its replicas serve."""
        counts = {service.id: (service, 0) for service in self.ports.services.watched()}
        for row in self.ports.replicas.all():
            if row.service_id in counts and row.observed is Observed.READY:
                service, count = counts[row.service_id]
                counts[row.service_id] = service, count + 1
        return counts


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_services_that_come_and_go_settle_and_the_highest_have_what_they_want(database: Database):
    @given(cards=st.integers(1, 3), arriving=st.lists(services, min_size=1, max_size=6), leaving=st.integers(0, 5))
    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
    def history(cards: int, arriving: list[dict[str, Any]], leaving: int) -> None:
        world = World(database, cards=cards)
        names = []
        for values in arriving:
            names.append(world.add(**values))
            world.settle()
        gone = names[leaving % len(names)]
        moved = world.ports.services.move(
            None, gone, allowed=[S.DEPLOYING, S.RUNNING, S.PREEMPTED], to=S.STOPPING, reason="by request"
        )
        world.settle()

        told = world.told()
        assert moved is not None
        assert gone not in told
        assert all(service.state in (S.RUNNING, S.DEPLOYING, S.PREEMPTED) for service, _ in told.values())
        assert all((count > 0) <= (service.state is S.RUNNING) for service, count in told.values())
        top = max((service.config.priority for service, _ in told.values()), default=0)
        best = [one for one in told.values() if one[0].config.priority == top]
        if all(service.config.preemptible for service, _ in told.values()) and len(best) == 1:
            service, count = best[0]
            size = service.config.requirements.gpu_memory_bytes or CARD_BYTES
            assert count == min(service.config.replicas, cards * (CARD_BYTES // size))

    history()
