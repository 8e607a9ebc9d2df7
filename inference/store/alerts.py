"""Alerts and their orders in SQL: every change of phase is one compare-and-set, with its orders in the transaction."""

import builtins
import dataclasses
from collections.abc import Collection, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from inference.access.model import Scope
from inference.alerts.model import Action, Alert, Event, Metric, Order, OrderState, Phase, Severity
from inference.store.database import Database
from inference.store.scoped import rows_in
from inference.store.tables import alert_orders, alert_silences, alerts
from inference.store.upsert import insert_new

_FIELDS = tuple(field.name for field in dataclasses.fields(Alert))
_COLUMNS = [alerts.c[name] for name in _FIELDS]


class SqlAlerts:
    """`AlertStore` on SQLite and PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._db = database
        clock, lock = database.clock, "" if database.is_sqlite else "FOR UPDATE SKIP LOCKED"
        due = f"state = 'pending' AND due_at <= {clock}"
        self._due = sa.text(f"SELECT 1 FROM alert_orders WHERE {due} LIMIT 1")
        self._take = sa.text(
            f"UPDATE alert_orders SET due_at = {clock} + :lease, leased_by = :by WHERE id IN "
            f"(SELECT id FROM alert_orders WHERE {due} ORDER BY due_at, id LIMIT :n {lock}) RETURNING *"
        )

    def now_s(self) -> float:
        with self._db.read() as connection:
            return self._db.now_s(connection)

    def active(self) -> "builtins.list[Alert]":
        with self._db.read() as connection:
            return [
                _alert(row) for row in connection.execute(sa.select(*_COLUMNS).where(alerts.c.active_key.is_not(None)))
            ]

    def begin(self, alert: Alert) -> bool:
        with self._db.write() as connection:
            return insert_new(connection, self._db, alerts, _row(alert))

    def note(self, alert: Alert) -> None:
        with self._db.write() as connection:
            connection.execute(
                _move(alert, (Phase.PENDING, Phase.FIRING), value=alert.value, quiet_since=alert.quiet_since)
            )

    def fire(self, alert: Alert) -> bool:
        with self._db.write() as connection:
            values = {"phase": Phase.FIRING.value, "fired_at": alert.fired_at, "value": alert.value}
            return connection.execute(_move(alert, (Phase.PENDING,), **values)).rowcount == 1

    def drop(self, alert: Alert) -> None:
        mine = (alerts.c.id == alert.id) & (alerts.c.phase == Phase.PENDING.value)
        with self._db.write() as connection:
            connection.execute(sa.delete(alerts).where(mine))

    def tell(self, alert: Alert, orders: Sequence[Order]) -> bool:
        with self._db.write() as connection:
            told = _move(alert, (Phase.FIRING,), told_at=alert.told_at).where(alerts.c.told_at.is_(None))
            if connection.execute(told).rowcount != 1:
                return False
            self._give(connection, orders)
        return True

    def resolve(self, alert: Alert, orders: Sequence[Order]) -> bool:
        values = {"phase": Phase.RESOLVED.value, "resolved_at": alert.resolved_at, "active_key": None}
        with self._db.write() as connection:
            if connection.execute(_move(alert, (Phase.FIRING,), **values)).rowcount != 1:
                return False
            self._give(connection, orders)
        return True

    def _give(self, connection: sa.Connection, orders: Sequence[Order]) -> None:
        now = self._db.now_s(connection)
        for order in orders:
            connection.execute(
                sa.insert(alert_orders).values(
                    id=order.id,
                    alert_id=order.alert_id,
                    rule_id=order.rule_id,
                    tenant_id=order.tenant_id,
                    service_id=order.service_id,
                    event=order.event.value,
                    kind=order.action.kind.value,
                    action=msgspec.json.encode(order.action).decode(),
                    state=order.state.value,
                    attempts=0,
                    created_at=now,
                    due_at=now,
                )
            )

    def list(
        self, scope: Scope, *, phase: Phase | None, service_id: str | None, limit: int, before_id: str | None
    ) -> "builtins.list[Alert]":
        where = [rows_in(scope, alerts), alerts.c.phase != Phase.PENDING.value]
        if phase is not None:
            where.append(alerts.c.phase == phase.value)
        if service_id is not None:
            where.append(alerts.c.service_id == service_id)
        if before_id is not None:
            where.append(alerts.c.id < before_id)
        query = sa.select(*_COLUMNS).where(*where).order_by(alerts.c.id.desc()).limit(limit)
        with self._db.read() as connection:
            return [_alert(row) for row in connection.execute(query)]

    def orders_of(self, tenant_id: str, alert_ids: Collection[str]) -> "builtins.list[Order]":
        if not alert_ids:
            return []
        mine = (alert_orders.c.tenant_id == tenant_id) & alert_orders.c.alert_id.in_(sorted(alert_ids))
        with self._db.read() as connection:
            found = connection.execute(sa.select(alert_orders).where(mine).order_by(alert_orders.c.id))
            return [_order(row) for row in found]

    def take(self, *, by: str, limit: int, lease_s: float) -> Sequence[tuple[Order, Alert]]:
        """The lease is `due_at` itself, moved ahead: who dies leaves an order that is due again after it."""
        with self._db.read() as connection:
            if connection.execute(self._due).first() is None:
                return []
        with self._db.write() as connection:
            rows = connection.execute(self._take, {"lease": lease_s, "by": by, "n": limit}).all()
            orders = sorted((_order(row) for row in rows), key=lambda order: order.id)
            ids = {order.alert_id for order in orders}
            found = connection.execute(sa.select(*_COLUMNS).where(alerts.c.id.in_(ids)))
            known = {row.id: _alert(row) for row in found}
        return [(order, known[order.alert_id]) for order in orders if order.alert_id in known]

    def settle(self, order: Order, *, by: str, state: OrderState, delay_s: float, note: str | None) -> bool:
        statement = sa.text(
            f"UPDATE alert_orders SET state = :state, attempts = attempts + 1, note = :note, leased_by = NULL, "
            f"due_at = {self._db.clock} + :delay, settled_at = CASE WHEN :over = 1 THEN {self._db.clock} END "
            "WHERE id = :id AND state = 'pending' AND leased_by = :by"
        )
        bound = {
            "state": state.value,
            "note": note,
            "delay": delay_s,
            "over": int(state is not OrderState.PENDING),
            "id": order.id,
            "by": by,
        }
        with self._db.write() as connection:
            return connection.execute(statement, bound).rowcount == 1

    def last_done(self, *, tenant_id: str, service_id: str, kind: str) -> float | None:
        query = sa.select(sa.func.max(alert_orders.c.settled_at)).where(
            alert_orders.c.tenant_id == tenant_id,
            alert_orders.c.service_id == service_id,
            alert_orders.c.kind == kind,
            alert_orders.c.state == OrderState.DONE.value,
        )
        with self._db.read() as connection:
            at = connection.execute(query).scalar_one_or_none()
        return None if at is None else float(at)

    def forget(self, *, keep_s: float, limit: int) -> int:
        with self._db.write() as connection:
            now = self._db.now_s(connection)
            old = sa.select(alerts.c.id).where(alerts.c.resolved_at < now - keep_s).order_by(alerts.c.id).limit(limit)
            ids = connection.execute(old).scalars().all()
            connection.execute(sa.delete(alert_orders).where(alert_orders.c.alert_id.in_(ids)))
            connection.execute(sa.delete(alerts).where(alerts.c.id.in_(ids)))
            connection.execute(sa.delete(alert_silences).where(alert_silences.c.until < now - keep_s))
        return len(ids)


def _move(alert: Alert, allowed: Sequence[Phase], **values: Any) -> sa.Update:
    phases = [phase.value for phase in allowed]
    return sa.update(alerts).where(alerts.c.id == alert.id, alerts.c.phase.in_(phases)).values(**values)


def _row(alert: Alert) -> dict[str, Any]:
    texts = {name: getattr(alert, name).value for name in ("metric", "severity", "phase")}
    return {**dataclasses.asdict(alert), **texts, "active_key": f"{alert.rule_id}:{alert.service_id}"}


def _alert(row: "sa.Row[Any]") -> Alert:
    kinds = {"metric": Metric(row.metric), "severity": Severity(row.severity), "phase": Phase(row.phase)}
    return Alert(**{**row._mapping, **kinds})


def _order(row: "sa.Row[Any]") -> Order:
    return Order(
        id=row.id,
        alert_id=row.alert_id,
        rule_id=row.rule_id,
        tenant_id=row.tenant_id,
        service_id=row.service_id,
        event=Event(row.event),
        action=msgspec.json.decode(row.action, type=Action),
        state=OrderState(row.state),
        attempts=row.attempts,
        note=row.note,
        created_at=row.created_at,
        settled_at=row.settled_at,
    )
