"""The backup room over a real database, and objects to put in it."""

import dataclasses
from typing import Any

from inference.access.model import Limits, Tenant
from inference.alerts.model import Metric, Rule
from inference.backup.ports import BackupPorts
from inference.costs.model import Budget, Period
from inference.ids import new_id
from inference.registry.model import ModelState, ModelVersion, Signature
from inference.reports.model import Every, Format, Schedule
from inference.serving import config as configs
from inference.serving.model import Service, ServiceState
from inference.settings import Settings
from inference.store.alert_rules import SqlAlertRules
from inference.store.backups import SqlBackups
from inference.store.budgets import SqlBudgets
from inference.store.configuration import SqlConfiguration
from inference.store.database import Database
from inference.store.models import SqlModels
from inference.store.reports import SqlReports
from inference.store.services import SqlServices
from inference.store.tenants import SqlTenants
from tests import fakes


def make_ports(database: Database) -> BackupPorts:
    """Rows are real; rules, devices and blobs as the fakes have them."""
    core = fakes.make_core(Settings())
    serving = dataclasses.replace(
        core.serving, services=SqlServices(database), models=SqlModels(database), settings=Settings().serving
    )
    return BackupPorts(
        configuration=SqlConfiguration(database),
        snapshots=SqlBackups(database),
        serving=serving,
        alerts=core.alerts,
        tenants=SqlTenants(database),
        has_blob=lambda key: key != "f" * 64,
        settings=Settings().backup,
    )


def add_tenant(database: Database, tenant_id: str, **limits: Any) -> str:
    SqlTenants(database).insert(Tenant(id=tenant_id, name=tenant_id, created_at=1.0, limits=Limits(**limits)))
    return tenant_id


def add_model(database: Database, tenant_id: str, name="digits", version="1.0.0", *, sha256="a" * 64) -> ModelVersion:
    model = ModelVersion(
        id=new_id(),
        tenant_id=tenant_id,
        name=name,
        version=version,
        framework="onnx",
        state=ModelState.REGISTERED,
        sha256=sha256,
        size_bytes=10,
        golden="b" * 64,
        signature=Signature(inputs=(fakes.X,), outputs=(fakes.Y,), engine_inputs=(fakes.X,), engine_outputs=(fakes.Y,)),
        metadata={"author": "of the model"},
        created_at=1.5,
    )
    SqlModels(database).insert(model)
    return model


def add_service(database: Database, model: ModelVersion, name: str, config: dict[str, Any]) -> Service:
    service = Service(
        id=new_id(),
        tenant_id=model.tenant_id,
        name=name,
        model_id=model.id,
        state=ServiceState.PENDING,
        config=configs.read(config),
        revision=1,
        created_at=2.5,
        updated_at=2.5,
    )
    SqlServices(database).insert(service)
    return service


def add_rule(database: Database, tenant_id: str, name: str, *, service_id="", threshold=0.5) -> Rule:
    rule = Rule(
        id=new_id(), tenant_id=tenant_id, name=name, metric=Metric.LATENCY, threshold=threshold, service_id=service_id
    )
    return SqlAlertRules(database).save(rule, before=None)


def add_schedule(database: Database, tenant_id: str, *, service_id="", at="06:00") -> Schedule:
    wanted = Schedule(
        id=new_id(),
        tenant_id=tenant_id,
        service_id=service_id,
        every=Every.DAY,
        at=at,
        timezone="Europe/Paris",
        format=Format.HTML,
        language="zh",
        mail_to=("ops@example.org",),
        next_at=1.0,
    )
    return SqlReports(database).schedule(wanted, most=10)


def set_budget(database: Database, tenant_id: str, hard: float, *, service_id="", of_system=False) -> Budget:
    return SqlBudgets(database).put(
        Budget(
            id=new_id(),
            tenant_id=tenant_id,
            service_id=service_id,
            period=Period.MONTH,
            of_system=of_system,
            soft=None,
            hard=hard,
            low_priority=4,
        )
    )
