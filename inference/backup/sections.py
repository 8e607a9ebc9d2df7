"""What a snapshot holds: a line for each kind of object, and what must be true of one before it is restored."""

import contextlib
import dataclasses
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from inference.access import checks
from inference.access.model import Scope, Tenant
from inference.alerts import rules
from inference.alerts.model import Rule
from inference.backup.model import KeptBudget, KeptKey, KeptPrice, KeptService, Object
from inference.backup.ports import BackupPorts
from inference.costs import budgets, prices
from inference.costs.model import Budget, Price
from inference.errors import InvalidField, ModelNotFound, QuotaExceeded
from inference.ids import DEFAULT_TENANT
from inference.registry import checks as model_checks
from inference.registry.model import ModelVersion
from inference.reports import ask
from inference.reports.model import LANGUAGES, Schedule
from inference.serving import config as configs
from inference.serving import create, quota, switch

Check = Callable[[BackupPorts, Any, Object | None], None]
"""Given the object in its shape, and what stands in its place now. Raises PenstockError, best with a `field`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A kind of object. `key`: what makes two the same where their ids differ. `fields`: what a restore changes.

    `refs`: fields (with dots) that hold the id of an object of another section; empty or null: of none. `shape`: what
    the archive's JSON must convert to. `of_system`: no tenant's own. `same`: fields that must not differ from what is
    there, each with the reason.
    """

    name: str
    key: tuple[str, ...]
    fields: tuple[str, ...]
    shape: type[Any]
    check: Check
    refs: Mapping[str, str] = field(default_factory=dict)
    same: Mapping[str, str] = field(default_factory=dict)
    of_system: bool = False


_NOT_OF_A_RULE = ("id", "tenant_id", "is_default", "created_at", "updated_at")


def _tenant(ports: BackupPorts, tenant: Tenant, now: Object | None) -> None:
    checks.new_tenant_id(tenant.id)
    checks.name(tenant.name)
    checks.limits(tenant.limits)
    if tenant.is_disabled and tenant.id == DEFAULT_TENANT:
        raise InvalidField("The tenant of the system's own keys cannot be disabled.", field="is_disabled")


def _model(ports: BackupPorts, model: ModelVersion, now: Object | None) -> None:
    model_checks.check_name(model.name)
    model_checks.check_version(model.version)
    for mapping in ("metadata", "accuracy_metrics"):
        model_checks.check_mapping(mapping, getattr(model, mapping))
    for named, what in (("sha256", "artefact"), ("golden", "golden input and output")):
        if not ports.has_blob(getattr(model, named)):
            raise InvalidField(
                f"The {what} of {model.name} {model.version} is not there any more; register the model again.",
                field=named,
            )


def _service(ports: BackupPorts, service: KeptService, now: Object | None) -> None:
    create.check_name(service.name)
    if service.workspace:
        checks.workspace(service.workspace)
    config = configs.kept(service.config)
    if now is None:
        return
    scope, service_id = Scope(service.tenant_id), str(now["id"])
    current = ports.serving.services.get(scope, service_id)
    if service.model_id != current.model_id:
        with contextlib.suppress(ModelNotFound):  # one that comes back with it
            switch.require_successor(
                ports.serving, scope=scope, service=current, model_id=service.model_id, config=config
            )
    if current.state not in quota.COUNTED:
        return
    try:
        limits = ports.tenants.get(service.tenant_id).limits
        quota.require_room(
            ports.serving, scope=scope, limits=limits, service_id=service_id, config=config, replicas=config.replicas
        )
    except QuotaExceeded as error:
        raise InvalidField(error.message, field="config.replicas") from error


def _rule(ports: BackupPorts, rule: Rule, now: Object | None) -> None:
    rules.check(ports.alerts, rule)


def _budget(ports: BackupPorts, budget: KeptBudget, now: Object | None) -> None:
    budgets.check(
        Budget(
            id=budget.id,
            tenant_id=budget.tenant_id,
            service_id=budget.service_id,
            period=budget.period,
            of_system=budget.of_system,
            soft=budget.soft,
            hard=budget.hard,
            low_priority=budget.low_priority,
        )
    )


def _price(ports: BackupPorts, price: KeptPrice, now: Object | None) -> None:
    prices.check(Price(device_kind=price.device_kind, purchase=price.purchase, per_hour=price.per_hour))


def _key(ports: BackupPorts, key: KeptKey, now: Object | None) -> None:
    checks.name(key.name)
    checks.limits(key.limits)
    if _KEY_ID.fullmatch(key.id) is None:
        raise InvalidField("The id of a key is 12 hex digits.", field="id")
    if key.digest is not None and _DIGEST.fullmatch(key.digest) is None:
        raise InvalidField("`digest` must be 64 hex digits.", field="digest")


def _report_schedule(ports: BackupPorts, schedule: Schedule, now: Object | None) -> None:
    ask.check(schedule)
    if schedule.language not in LANGUAGES:
        raise InvalidField(f"`language` must be one of {', '.join(LANGUAGES)}.", field="language")


_KEY_ID, _DIGEST = re.compile("[0-9a-f]{12}"), re.compile("[0-9a-f]{64}")

SECTIONS: tuple[Section, ...] = (
    Section(
        name="tenants",
        key=("id",),
        fields=("name", "limits", "is_disabled"),
        shape=Tenant,
        check=_tenant,
        of_system=True,
    ),
    Section(
        name="models",
        key=("tenant_id", "name", "version"),
        fields=("state", "hooks", "golden", "signature", "metadata", "accuracy_metrics", "deployment_config"),
        shape=ModelVersion,
        check=_model,
        same={"sha256": "another artefact was registered under this version; register the old one as a new version"},
    ),
    Section(
        name="services",
        key=("tenant_id", "name"),
        fields=("model_id", "config"),
        shape=KeptService,
        check=_service,
        refs={
            "model_id": "models",
            "config.fallback_service_id": "services",
            "config.raw.fallback_service_id": "services",
        },
    ),
    Section(
        name="alert_rules",
        key=("tenant_id", "name"),
        fields=tuple(one.name for one in dataclasses.fields(Rule) if one.name not in _NOT_OF_A_RULE),
        shape=Rule,
        check=_rule,
        refs={"service_id": "services"},
    ),
    Section(
        name="budgets",
        key=("tenant_id", "service_id", "period", "of_system"),
        fields=("soft", "hard", "low_priority"),
        shape=KeptBudget,
        check=_budget,
        refs={"service_id": "services"},
    ),
    Section(
        name="report_schedules",
        key=("id",),
        fields=("every", "at", "timezone", "format", "language", "mail_to", "post_to"),
        shape=Schedule,
        check=_report_schedule,
        refs={"service_id": "services"},
    ),
    Section(
        name="prices",
        key=("device_kind", "purchase", "valid_from"),
        fields=("per_hour",),
        shape=KeptPrice,
        check=_price,
        of_system=True,
    ),
    Section(
        name="keys",
        key=("id",),
        fields=("name", "limits"),
        shape=KeptKey,
        check=_key,
        refs={"service_id": "services"},
    ),
)
"""In the order in which they are restored: what is named comes before what names it. A room that keeps more of its own
configuration adds its line here, and its rows to `store.configuration`."""

BY_NAME = {section.name: section for section in SECTIONS}


def shaped(section: Section, told: Object) -> Any:
    """The object of the archive, of the kinds that it must be of. Raises InvalidField."""
    try:
        return msgspec.convert(dict(told), section.shape)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `$.")
        field = where.rstrip("`") or None
        raise InvalidField(f"{what}.", field=field) from error
