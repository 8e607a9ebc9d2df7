"""The configuration as rows: all of it read as of one instant, and brought back in one transaction."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import sqlalchemy as sa

from inference.access.model import Limits
from inference.alerts.model import Rule
from inference.backup.model import Action, Object, Sections, Step
from inference.clock import epoch_s
from inference.costs import price as price_table
from inference.costs.model import Level, Price, Purchase
from inference.errors import RestoreRefused
from inference.ids import DEFAULT_TENANT, new_id
from inference.reports.model import Schedule
from inference.serving import control
from inference.serving.model import ServiceState
from inference.store import auditing
from inference.store.alert_rules import told as told_of_rule
from inference.store.database import Database
from inference.store.epochs import next_epoch
from inference.store.models import from_row as model_of
from inference.store.schema import REVISION
from inference.store.tables import (
    alert_rules,
    api_keys,
    budgets,
    models,
    prices,
    report_schedules,
    service_events,
    services,
    tenants,
)
from inference.store.tenants import limits_of, limits_text

Row = Mapping[str, Any]
_KEY_FIELDS = ("id", "tenant_id", "workspace", "service_id", "is_system", "is_for_service", "name", "role")


@dataclass(frozen=True, slots=True)
class _Kind:
    """How an object of a section lies in its table. `write`: the columns that these fields are kept in.

    `added`: columns of a new row that no object has. `told`: what of it the audit record may show.
    """

    table: sa.Table
    word: str
    read: Callable[["sa.Row[Any]"], dict[str, Any]]
    write: Callable[[Object], dict[str, Any]]
    added: Callable[[float], dict[str, Any]] = lambda now: {}
    told: Callable[[Object], Object] = lambda one: one


def _plain(*names: str) -> Callable[["sa.Row[Any]"], dict[str, Any]]:
    return lambda row: {name: getattr(row, name) for name in names}


def _as_json(one: object) -> dict[str, Any]:
    """As an archive has it: lists, where we have tuples, or each would differ from what was kept of it."""
    found: dict[str, Any] = json.loads(msgspec.json.encode(one))
    return found


def _tenant(row: "sa.Row[Any]") -> dict[str, Any]:
    limits = msgspec.to_builtins(limits_of(json.loads(row.limits)))
    return {**_plain("id", "name", "created_at")(row), "limits": limits, "is_disabled": row.disabled_at is not None}


def _tenant_row(one: Object) -> dict[str, Any]:
    """`disabled_at` is set by the caller, who has the time."""
    return {name: one[name] for name in ("id", "name", "created_at")} | {"limits": _limits(one["limits"])}


def _limits(told: Row) -> str:
    return limits_text(msgspec.convert(told, Limits))


def _model(row: "sa.Row[Any]") -> dict[str, Any]:
    return _as_json(model_of(row))


def _model_row(one: Object) -> dict[str, Any]:
    texts = ("signature", "estimate", "hooks", "metadata", "accuracy_metrics", "deployment_config")
    values = {name: one[name] for name in (column.name for column in models.columns) if name in one}
    return values | {name: json.dumps(one.get(name, {}), allow_nan=False) for name in texts}


def _service(row: "sa.Row[Any]") -> dict[str, Any]:
    kept = _plain("id", "tenant_id", "workspace", "name", "model_id", "created_at")(row)
    return {**kept, "config": json.loads(row.config)}


def _service_row(one: Object) -> dict[str, Any]:
    names = ("id", "tenant_id", "workspace", "name", "model_id", "created_at")
    config = one["config"]
    return {name: one[name] for name in names if name in one} | {
        "config": json.dumps(config),
        "queue_while_stopped": bool(config.get("queue_while_stopped", False)),
    }


def _rule(row: "sa.Row[Any]") -> dict[str, Any]:
    return _as_json(msgspec.json.decode(row.body, type=Rule))


def _rule_row(one: Object) -> dict[str, Any]:
    names = ("id", "tenant_id", "name", "service_id", "created_at", "updated_at")
    return {name: one[name] for name in names} | {"body": json.dumps(dict(one), allow_nan=False)}


_BUDGET = ("id", "tenant_id", "service_id", "period", "of_system", "soft", "hard", "low_priority", "created_at")


def _budget_row(one: Object) -> dict[str, Any]:
    """Judged anew: another limit may be reached."""
    kept = {name: one[name] for name in _BUDGET if name in one}
    return kept | {"level": Level.OK.value, "judged_for": 0.0}


def _schedule_row(one: Object) -> dict[str, Any]:
    """Due at the first of its times from now on."""
    from inference.reports import schedule  # time zones are of no use to who restores nothing

    wanted = schedule.first(msgspec.convert(dict(one), Schedule), now=epoch_s())
    return {**msgspec.to_builtins(wanted), "mail_to": json.dumps(wanted.mail_to)}


def _report_schedule(row: "sa.Row[Any]") -> dict[str, Any]:
    kept = _plain(*(column.name for column in report_schedules.columns if column.name != "next_at"))(row)
    return {**kept, "mail_to": json.loads(row.mail_to)}


def _key(row: "sa.Row[Any]") -> dict[str, Any]:
    limits = msgspec.to_builtins(limits_of(json.loads(row.limits)))
    times = _plain("created_at", "created_by", "expires_at", "revoked_at")(row)
    return {**_plain(*_KEY_FIELDS)(row), **times, "limits": limits, "digest": bytes(row.digest).hex()}


def _key_row(one: Object) -> dict[str, Any]:
    names = (*_KEY_FIELDS, "created_at", "created_by", "expires_at")
    kept = {name: one[name] for name in names} | {"limits": _limits(one["limits"])}
    return kept | ({"digest": bytes.fromhex(one["digest"])} if one.get("digest") else {})


_KINDS: Mapping[str, _Kind] = {
    "tenants": _Kind(tenants, "tenant", _tenant, _tenant_row),
    "models": _Kind(
        models,
        "model",
        _model,
        _model_row,
        told=lambda one: {name: one.get(name) for name in ("name", "version", "state", "sha256", "runs_code")},
    ),
    "services": _Kind(
        services,
        "service",
        _service,
        _service_row,
        added=lambda now: {"state": ServiceState.PENDING.value, "revision": 1, "updated_at": now},
        told=lambda one: {**one, "config": {name: value for name, value in one["config"].items() if name != "raw"}},
    ),
    "alert_rules": _Kind(
        alert_rules, "alert_rule", _rule, _rule_row, told=lambda one: told_of_rule(msgspec.convert(dict(one), Rule))
    ),
    "budgets": _Kind(budgets, "budget", _plain(*_BUDGET), _budget_row, added=lambda now: {"updated_at": now}),
    "report_schedules": _Kind(
        report_schedules,
        "report_schedule",
        _report_schedule,
        _schedule_row,
        told=lambda one: {**one, "post_to": one["post_to"].partition("?")[0]},
    ),
    "keys": _Kind(
        api_keys, "key", _key, _key_row, told=lambda one: {name: one[name] for name in one if name != "digest"}
    ),
}
"""Prices are kept by time and have no line: one that is set does not take the place of another."""


class SqlConfiguration:
    """`ConfigurationStore` on SQLite and PostgreSQL."""

    schema = REVISION

    def __init__(self, database: Database) -> None:
        self._db = database

    def read(self, tenant_id: str, *, with_keys: bool) -> Sections:
        with self._db.read() as connection:
            connection.exec_driver_sql("BEGIN" if self._db.is_sqlite else "BEGIN ISOLATION LEVEL REPEATABLE READ")
            try:
                found = self._read(connection, tenant_id)
            finally:
                connection.exec_driver_sql("ROLLBACK")
        if not with_keys:
            found["keys"] = [{name: one[name] for name in one if name != "digest"} for one in found["keys"]]
        return found

    def _read(self, connection: sa.Connection, tenant_id: str) -> dict[str, list[Object]]:
        found: dict[str, list[Object]] = {}
        for name, kind in _KINDS.items():
            column = kind.table.c.get("tenant_id", kind.table.c.id)
            mine = column == tenant_id if tenant_id else sa.true()
            rows = connection.execute(sa.select(kind.table).where(mine).order_by(kind.table.c.id))
            found[name] = [kind.read(row) for row in rows]
        found["prices"] = [] if tenant_id else self._prices(connection)
        return found

    def _prices(self, connection: sa.Connection) -> list[Object]:
        """Those that hold, as of no time, and those to come; the examples of the code are nobody's configuration."""
        now = self._db.now_s(connection)
        rows = connection.execute(sa.select(prices).order_by(*prices.primary_key))
        kept = [Price(**{**row._mapping, "purchase": Purchase(row.purchase)}) for row in rows]
        return [
            {
                "device_kind": one.device_kind,
                "purchase": one.purchase.value,
                "per_hour": one.per_hour,
                "valid_from": one.valid_from if one.valid_from > now else 0.0,
            }
            for one in price_table.in_force(kept, now)
            if not one.is_example
        ]

    def apply(self, tenant_id: str, decide: Callable[[Sections], Sequence[Step]], *, source: str) -> Sequence[Step]:
        def work() -> Sequence[Step]:
            with self._db.write() as connection:
                epoch = next_epoch(connection)  # first, as whoever else changes keys or tenants does
                steps = decide(self._read(connection, tenant_id))
                now = self._db.now_s(connection)
                todo = [step for step in steps if step.action in (Action.CREATE, Action.CHANGE)]
                for step in todo:
                    self._carry_out(connection, step, epoch=epoch, now=now)
                for step in todo:
                    self._audit(connection, step)
                auditing.note(
                    self._db,
                    connection,
                    action="backup.restore",
                    kind="backup",
                    object_id=source[:128],
                    tenant_id=tenant_id or DEFAULT_TENANT,
                    after={action.value: sum(step.action is action for step in steps) for action in Action},
                )
                return steps

        return self._db.again(work)

    def _carry_out(self, connection: sa.Connection, step: Step, *, epoch: int, now: float) -> None:
        after = step.after or {}
        if step.section == "prices":
            valid_from = after["valid_from"] or now
            connection.execute(sa.insert(prices).values(**{**after, "valid_from": valid_from}))
            return
        kind = _KINDS[step.section]
        values = kind.write({**after, "updated_at": now} if step.section == "alert_rules" else after)
        if step.section in ("tenants", "keys"):
            values["epoch"] = epoch
        if step.section == "tenants":
            values["disabled_at"] = now if after["is_disabled"] else None
        if step.action is Action.CREATE:
            connection.execute(sa.insert(kind.table).values(**{**kind.added(now), **values}))
            if step.section == "services":
                event = {"service_id": step.id, "from_state": "", "to_state": ServiceState.PENDING.value}
                restored = sa.insert(service_events).values(
                    id=new_id(), at=now, reason="restored from a backup", **event
                )
                connection.execute(restored)
            return
        if step.section == "services":
            values |= _revised(step, now)
        elif step.section == "budgets":
            values["updated_at"] = now
        mine = kind.table.c.id == step.id
        if "tenant_id" in kind.table.c:
            mine &= kind.table.c.tenant_id == step.tenant_id
        if connection.execute(sa.update(kind.table).where(mine).values(**values)).rowcount != 1:
            raise RestoreRefused(f"{step.name} of {step.section} was removed meanwhile; try again.", refused=[])

    def _audit(self, connection: sa.Connection, step: Step) -> None:
        kind = _KINDS.get(step.section)
        told = kind.told if kind is not None else dict
        auditing.note(
            self._db,
            connection,
            action=f"{kind.word if kind is not None else 'price'}.restore",
            kind=kind.word if kind is not None else "price",
            object_id=step.id or step.name,
            tenant_id=step.tenant_id or DEFAULT_TENANT,
            before=None if step.before is None else told(step.before),
            after=None if step.after is None else told(step.after),
        )


def _revised(step: Step, now: float) -> dict[str, Any]:
    """Replicas are replaced where they must be told of what changed."""
    before, after = step.before or {}, step.after or {}
    quiet = {f"config.{name}" for name in control.LIVE} | {"config.raw"}
    roots = {".".join(change.field.split(".")[:2]) for change in step.changes}
    is_told = before.get("model_id") != after.get("model_id") or not roots <= quiet
    return {"updated_at": now} | ({"revision": services.c.revision + 1} if is_told else {"scaled_at": now})
