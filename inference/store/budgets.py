"""Prices and budgets as rows; every change by a person with its audit record."""

import builtins
import dataclasses
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from inference.access import acting
from inference.costs.budget import span
from inference.costs.model import Budget, Level, Period, Price, Purchase
from inference.costs.ports import Exhausted
from inference.errors import BudgetNotFound
from inference.ids import DEFAULT_TENANT, new_id
from inference.store import auditing
from inference.store.database import Database
from inference.store.tables import budgets, prices, service_events, services
from inference.store.upsert import insert_new, insert_or_replace

PRICE_KEY = ("device_kind", "purchase", "valid_from")
SUBJECT = ("tenant_id", "service_id", "period", "of_system")
SET = ("soft", "hard", "low_priority")
"""What a person says of a budget, beside what it is of."""


class SqlPrices:
    """`PriceStore` on SQLite or PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def all(self) -> Sequence[Price]:
        with self._db.read() as connection:
            return [
                Price(
                    device_kind=row.device_kind,
                    purchase=Purchase(row.purchase),
                    per_hour=row.per_hour,
                    valid_from=row.valid_from,
                )
                for row in connection.execute(sa.select(prices).order_by(*prices.primary_key))
            ]

    def put(self, changed: Sequence[Price]) -> None:
        with self._db.write() as connection:
            now = self._db.now_s(connection)
            for price in changed:
                values = {
                    "device_kind": price.device_kind,
                    "purchase": price.purchase.value,
                    "valid_from": price.valid_from or now,
                    "per_hour": price.per_hour,
                }
                connection.execute(insert_or_replace(self._db, prices, values, key=PRICE_KEY))
            actor = acting.current()
            auditing.note(
                self._db,
                connection,
                action="price.set",
                kind="price",
                object_id=", ".join(sorted({price.device_kind for price in changed}))[:128],
                tenant_id=actor.tenant_id if actor else DEFAULT_TENANT,
                after={
                    f"{price.device_kind} {price.purchase.value}": {
                        "per_hour": price.per_hour,
                        "valid_from": price.valid_from or now,
                    }
                    for price in changed
                },
            )


class SqlBudgets:
    """`BudgetStore` on SQLite or PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def put(self, budget: Budget) -> Budget:
        values = _row(budget)
        same = sa.and_(*(budgets.c[name] == values[name] for name in SUBJECT))
        changes = {name: values[name] for name in (*SET, "updated_at")} | {"level": Level.OK.value, "judged_for": 0.0}
        with self._db.write() as connection:
            is_new = insert_new(connection, self._db, budgets, values)
            found = connection.execute(sa.select(budgets).where(same).with_for_update()).one()
            before = None if is_new else _budget(found)
            if not is_new:
                found = connection.execute(sa.update(budgets).where(same).values(changes).returning(budgets)).one()
            after = _budget(found)
            self._audit(connection, "budget.set", before, after)
            return after

    def list(self, tenant_id: str | None) -> "builtins.list[Budget]":
        mine = sa.true() if tenant_id is None else budgets.c.tenant_id == tenant_id
        with self._db.read() as connection:
            found = connection.execute(sa.select(budgets).where(mine).order_by(*(budgets.c[name] for name in SUBJECT)))
            return [_budget(row) for row in found]

    def get(self, tenant_id: str | None, budget_id: str) -> Budget:
        with self._db.read() as connection:
            row = connection.execute(sa.select(budgets).where(_one(tenant_id, budget_id))).one_or_none()
        if row is None:
            raise _missing(budget_id)
        return _budget(row)

    def delete(self, tenant_id: str | None, budget_id: str) -> None:
        gone = sa.delete(budgets).where(_one(tenant_id, budget_id)).returning(budgets)
        with self._db.write() as connection:
            row = connection.execute(gone).one_or_none()
            if row is None:
                raise _missing(budget_id)
            self._audit(connection, "budget.delete", _budget(row), None)

    def judge(self, budget: Budget, level: Level, *, judged_for: float, notice: str | None) -> bool:
        as_read = (
            (budgets.c.id == budget.id)
            & (budgets.c.tenant_id == budget.tenant_id)
            & (budgets.c.level == budget.level.value)
            & (budgets.c.judged_for == budget.judged_for)
            & (budgets.c.updated_at == budget.updated_at)
        )
        clock: sa.ColumnElement[float] = sa.literal_column(self._db.clock, sa.Double())
        values = {"level": level.value, "judged_for": judged_for, "level_at": clock}
        with self._db.write() as connection:
            if connection.execute(sa.update(budgets).where(as_read).values(values)).rowcount != 1:
                return False
            if notice is not None and budget.service_id:
                mine = (services.c.id == budget.service_id) & (services.c.tenant_id == budget.tenant_id)
                state = sa.select(services.c.state).where(mine)
                if (now := connection.execute(state).scalar_one_or_none()) is not None:
                    event = {"service_id": budget.service_id, "from_state": now, "to_state": now, "reason": notice}
                    connection.execute(sa.insert(service_events).values(id=new_id(), at=clock, **event))
            return True

    def exhausted(self) -> Sequence[Exhausted]:
        """One short read of the budgets that are past their limit; most often of nothing."""
        hard = sa.select(budgets).where(budgets.c.level == Level.HARD.value)
        with self._db.read() as connection:
            found = [_budget(row) for row in connection.execute(hard)]
            now = self._db.now_s(connection) if found else 0.0
        return [
            Exhausted(
                tenant_id=one.tenant_id,
                service_id=one.service_id,
                low_priority=one.low_priority,
                hard=one.hard or 0.0,
                ends_at=span(one.period, now)[1],
            )
            for one in found
            if one.judged_for == span(one.period, now)[0]
        ]

    def _audit(self, connection: sa.Connection, action: str, before: Budget | None, after: Budget | None) -> None:
        one = after or before
        if one is None:
            return
        auditing.note(
            self._db,
            connection,
            action=action,
            kind="budget",
            object_id=one.id,
            tenant_id=one.tenant_id,
            before=None if before is None else _told(before),
            after=None if after is None else _told(after),
        )


def _one(tenant_id: str | None, budget_id: str) -> sa.ColumnElement[bool]:
    mine = budgets.c.id == budget_id
    return mine if tenant_id is None else mine & (budgets.c.tenant_id == tenant_id)


def _missing(budget_id: str) -> BudgetNotFound:
    return BudgetNotFound(f"There is no budget {budget_id}.", budget_id=budget_id)


def _told(budget: Budget) -> dict[str, Any]:
    return {name: getattr(budget, name) for name in ("service_id", "period", "of_system", *SET)}


def _row(budget: Budget) -> dict[str, Any]:
    return {**dataclasses.asdict(budget), "period": budget.period.value, "level": budget.level.value}


def _budget(row: "sa.Row[Any]") -> Budget:
    return Budget(**{**row._mapping, "period": Period(row.period), "level": Level(row.level)})
