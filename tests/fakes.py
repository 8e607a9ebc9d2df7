"""The ports of the core in memory: same promises, no I/O. For tests of what stands above them."""

import dataclasses
import io
import time
from collections import Counter
from pathlib import Path

from inference.core import Core
from inference.costs.gate import BudgetGate
from inference.errors import DeploymentNotFound, NameExists, ServiceNotFound
from inference.ids import DEFAULT_TENANT, new_id
from inference.jobs.by_model import CachedByModel
from inference.jobs.commit import GroupCommit
from inference.jobs.fallback import CachedFallback
from inference.jobs.large import LargeResults
from inference.jobs.ports import JobPorts
from inference.registry.model import ModelState, ModelVersion, Signature
from inference.registry.ports import RegistryPorts
from inference.results.ports import ResultsPorts
from inference.serving.model import Node, Service, ServiceConfig, ServiceEvent, ServiceState
from inference.serving.ports import ServingPorts
from inference.settings import Settings
from inference.tensors import TensorSpec
from tests import (
    fakes_access,
    fakes_alerts,
    fakes_backup,
    fakes_costs,
    fakes_logs,
    fakes_reports,
    fakes_resources,
    fakes_scaling,
    fakes_telemetry,
)
from tests.fakes_bulk import FakeBulk
from tests.fakes_cache import FakeResultCache
from tests.fakes_jobs import FakeJobs
from tests.fakes_leases import FakeLeases
from tests.fakes_progress import FakeProgress
from tests.fakes_registry import FakeBlobs, FakeModels, FakeUploads, page
from tests.fakes_results import FakeSamples

X = TensorSpec(name="x", dtype="float32", shape=(None, 2))
Y = TensorSpec(name="y", dtype="float32", shape=(None, 2))


class FakeServices:
    def __init__(self):
        self.rows = {}
        self.history = []

    def insert(self, service):
        if any(row.name == service.name for row in self.rows.values()):
            raise NameExists(f"There is a service '{service.name}' already.", name=service.name)
        self.rows[service.id] = service

    def get(self, scope, service_id):
        if service_id not in self.rows or not _sees(scope, self.rows[service_id]):
            raise ServiceNotFound(f"There is no service {service_id}.", id=service_id)
        return self.rows[service_id]

    def list(self, scope, *, state=None, workspace=None, model_ids=None, limit=100, before_id=None):
        rows = [row for row in self.rows.values() if state in (None, row.state) and _sees(scope, row)]
        rows = [row for row in rows if model_ids is None or row.model_id in model_ids]
        rows = [row for row in rows if workspace in (None, row.workspace)]
        return page(rows, limit=limit, before_id=before_id)

    def workspaces(self, scope):
        return sorted(Counter(row.workspace for row in self.rows.values() if _sees(scope, row)).items())

    def watched(self):
        return list(self.rows.values())

    def ids(self, scope):
        return frozenset(row.id for row in self.rows.values() if _sees(scope, row))

    def move(self, scope, service_id, *, allowed, to, reason, suggested_action=None):
        service = self.rows[service_id]
        if service.state not in allowed:
            return None
        now = time.time()
        self.history.append(
            ServiceEvent(service_id=service_id, at=now, from_state=service.state, to_state=to, reason=reason)
        )
        times = {ServiceState.DEPLOYING: {"started_at": now}, ServiceState.STOPPING: {"stopped_at": now}}.get(to, {})
        self.rows[service_id] = dataclasses.replace(service, state=to, reason=reason, **times)
        return self.rows[service_id]

    def configure(self, scope, service_id, *, config, replicas_only, model_id=None):
        service = self.rows[service_id]
        change = {"scaled_at": time.time()} if replicas_only else {"revision": service.revision + 1}
        change |= {"updated_at": time.time(), "model_id": model_id or service.model_id}
        self.rows[service_id] = dataclasses.replace(service, config=config, **change)
        return self.rows[service_id]

    def delete(self, scope, service_id):
        del self.rows[service_id]

    def events(self, scope, service_id, *, limit=100):
        self.get(scope, service_id)
        return [event for event in reversed(self.history) if event.service_id == service_id][:limit]


def _sees(scope, service):
    return scope is None or scope.covers(
        tenant_id=service.tenant_id, workspace=service.workspace, service_id=service.id
    )


class FakeDeployments:
    def __init__(self):
        self.rows = {}

    def insert(self, deployment):
        self.rows[deployment.id] = deployment

    def get(self, scope, deployment_id):
        if deployment_id not in self.rows:
            raise DeploymentNotFound(f"There is no deployment {deployment_id}.", id=deployment_id)
        return self.rows[deployment_id]

    def list(self, scope, *, model_id=None, limit=100, before_id=None):
        rows = [row for row in self.rows.values() if model_id in (None, row.model_id)]
        return page(rows, limit=limit, before_id=before_id)


class FakeReplicas:
    def __init__(self):
        self.rows = []

    def all(self):
        return self.rows

    def of_service(self, service_id):
        return [row for row in self.rows if row.service_id == service_id]

    def of_node(self, node_id):
        return [row for row in self.rows if row.node_id == node_id]


class FakeFallback:
    """`FallbackStore`: `held` are the services that have room."""

    def __init__(self, services):
        self.services, self.held, self.handed = services, set(), []

    def naming(self):
        return [one for one in self.services.rows.values() if one.config.fallback_service_id is not None]

    def is_held(self, service_id):
        return service_id in self.held

    def hand_over(self, service_id, to, *, older_than_s, limit):
        self.handed.append((service_id, to, older_than_s))
        return 0


class FakeProfiles:
    def __init__(self):
        self.rows = []

    def of_model(self, model_id):
        return [row for row in self.rows if row.model_id == model_id]


class FakeTicks:
    age = 0.5

    def age_s(self, name):
        return self.age


class FakeNodes:
    def __init__(self):
        self.rows = [Node(id="n", host="h", inventory={}, heartbeat_at=0.0)]

    def list(self, *, silence_s):
        return self.rows


class Silent:
    """Bell, kick, hot results that hold nothing, and a quota without end."""

    def __init__(self):
        self.rung = []

    def ring(self, service_id, *, slots):
        self.rung.append(service_id)

    def ring_early(self, service_id, *, slots):
        return False

    def heed(self):
        pass

    def deliver(self, service_id, *, slot, token, slots):
        self.rung.append(service_id)

    def reconcile(self):
        pass

    def put(self, tenant_id, service_id, views):
        pass

    def get(self, tenant_id, job_id):
        return None

    def get_many(self, tenant_id, job_ids):
        return {}

    def forget(self, job_id, *, age_s):
        pass

    def admit(self, by, *, jobs, payload_bytes):
        pass

    def used(self, by):
        return {"key": {}, "tenant": {}}

    def places(self, by, service, specs, *, now):
        return [now] * len(specs)


class FakeDirectory:
    def __init__(self, services, models):
        self._services, self._models = services, models

    def find(self, scope, service_id):
        service = self._services.get(scope, service_id)
        return service, self._models.get(scope.tenant_id, service.model_id)


def make_core(settings=None):
    """A core over fakes; reach them through its ports."""
    settings = settings or Settings(data_dir=Path("/nowhere"))
    services, models, silent, blobs = FakeServices(), FakeModels(), Silent(), FakeBlobs()
    jobs, access = FakeJobs(services), fakes_access.make_access(settings)
    costs = fakes_costs.make_costs(settings)
    resources = fakes_resources.make_resources()
    serving = ServingPorts(
        services=services,
        replicas=FakeReplicas(),
        leases=FakeLeases(),
        instances=None,
        nodes=FakeNodes(),
        devices=resources.devices,
        ticks=FakeTicks(),
        profiles=FakeProfiles(),
        deployments=FakeDeployments(),
        models=models,
        kick=silent,
        settings=settings.serving,
    )
    notify = fakes_access.make_notify(settings)
    alerts = fakes_alerts.make_alerts(serving=serving, access=access, notify=notify, settings=settings.alerts)
    return Core(
        settings=settings,
        jobs=JobPorts(
            large=LargeResults(blobs, inline_bytes=settings.results.inline_bytes),
            store=jobs,
            commit=GroupCommit(jobs, silent, settings.jobs),
            admission=silent,
            fair=silent,
            bell=silent,
            hot=silent,
            directory=FakeDirectory(services, models),
            settings=settings.jobs,
            by_model=CachedByModel(services, models),
            cache=FakeResultCache(),
            fallbacks=CachedFallback(services, models, FakeFallback(services), after_s=5.0),
            spending=BudgetGate(costs.budgets, every_s=60.0, currency=settings.costs.currency),
        ),
        bulk=FakeBulk(jobs),
        progress=FakeProgress(),
        results=ResultsPorts(samples=FakeSamples(jobs)),
        serving=serving,
        registry=RegistryPorts(
            models=models,
            uploads=FakeUploads(),
            blobs=blobs,
            settings=settings.registry,
            engines=settings.engines,
            keep_s=settings.inputs.keep_s,
        ),
        resources=resources,
        access=access,
        door=fakes_access.make_door(access, settings),
        notify=notify,
        alerts=alerts,
        reports=fakes_reports.make_reports(notify=notify, settings=settings.reports, kept=settings.telemetry),
        backup=fakes_backup.make_backup(serving=serving, alerts=alerts, tenants=access.tenants),
        costs=costs,
        scaling=fakes_scaling.make_scaling(),
        logs=fakes_logs.make_logs(),
        telemetry=fakes_telemetry.make_telemetry(settings),
        ping_store=lambda: None,
        ping_redis=lambda: None,
        close=blobs.close,
    )


def add_model(core, *, name="double", version="1.0.0", inputs=(X,), outputs=(Y,), sha256="0" * 64):
    """A registered model, without an artefact."""
    model = ModelVersion(
        id=new_id(),
        tenant_id=DEFAULT_TENANT,
        name=name,
        version=version,
        framework="onnx",
        state=ModelState.REGISTERED,
        sha256=sha256,
        size_bytes=10,
        golden="1" * 64,
        signature=Signature(inputs=inputs, outputs=outputs, engine_inputs=inputs, engine_outputs=outputs),
        created_at=time.time(),
    )
    core.registry.models.insert(model)
    return model


def add_service(core, *, model=None, state=ServiceState.RUNNING, **config):
    """A service of that model (a fresh one without), in that state."""
    model = model or add_model(core)
    now = time.time()
    service_id = new_id()
    service = Service(
        id=service_id,
        tenant_id=DEFAULT_TENANT,
        name=f"service-{service_id}",
        model_id=model.id,
        state=state,
        config=ServiceConfig(raw=config, **config),
        revision=1,
        created_at=now,
        updated_at=now,
    )
    core.serving.services.insert(service)
    return service


def add_upload(core, content):
    """The id of an upload with that content."""
    upload_id = new_id()
    core.registry.uploads.insert(
        DEFAULT_TENANT, upload_id, core.registry.blobs.put_stream(io.BytesIO(content), limit_bytes=1 << 30)
    )
    return upload_id
