"""The outbox in SQL: leased by one sender at a time, settled by the one that holds the lease."""

import builtins
from collections.abc import Callable, Collection

import sqlalchemy as sa

from inference.notify.model import Answer, Delivery, DeliveryState
from inference.store import auditing
from inference.store.database import Database

COLUMNS = (
    "id, tenant_id, service_id, job_id, generation, event, job_state, url, created_at, due_at, attempts, state, "
    "last_status, last_error, delivered_at"
)
Render = Callable[[Delivery], bytes]


class SqlOutbox:
    """The `Outbox` of SQLite and PostgreSQL. `render` makes a delivery's body."""

    def __init__(self, database: Database, render: Render) -> None:
        self._db = database
        self.body = render

    def take(
        self, *, by: str, limit: int, of_one: int, lease_s: float, busy: Collection[str] = ()
    ) -> "builtins.list[Delivery]":
        """The lease is `due_at` itself, moved ahead: who dies leaves a delivery that is due again after it."""
        if (wait_s := self.next_due_s()) is None or wait_s > 0:
            return []
        clock, lock = self._db.clock, "" if self._db.is_sqlite else "FOR UPDATE SKIP LOCKED"
        due = f"state = 'pending' AND due_at <= {clock}"
        places = (
            "SELECT id, due_at, row_number() OVER (PARTITION BY service_id ORDER BY due_at, id) AS place "
            f"FROM outbox WHERE {due} AND service_id NOT IN :busy"
        )
        first = f"SELECT id FROM ({places}) AS queue WHERE place <= :of_one ORDER BY due_at, id LIMIT :n"
        statement = sa.text(
            f"UPDATE outbox SET due_at = {clock} + :lease, leased_by = :by "
            f"WHERE id IN (SELECT id FROM outbox WHERE id IN ({first}) AND {due} {lock}) RETURNING {COLUMNS}"
        ).bindparams(sa.bindparam("busy", expanding=True, type_=sa.String))
        bound = {"lease": lease_s, "by": by, "n": limit, "of_one": of_one, "busy": sorted(busy)}
        with self._db.write() as connection:
            return [_delivery(row) for row in connection.execute(statement, bound)]

    def settle(self, delivery_id: str, *, by: str, state: DeliveryState, delay_s: float, answer: Answer) -> bool:
        clock = self._db.clock
        statement = sa.text(
            f"UPDATE outbox SET state = :state, attempts = attempts + 1, due_at = {clock} + :delay, leased_by = NULL, "
            "last_status = :status, last_error = :error, "
            f"delivered_at = CASE WHEN :done = 1 THEN {clock} END "
            "WHERE id = :id AND state = 'pending' AND leased_by = :by RETURNING id"
        )
        bound = {
            "state": state.value,
            "done": int(state is DeliveryState.DELIVERED),
            "delay": delay_s,
            "status": answer.status,
            "error": answer.error,
            "id": delivery_id,
            "by": by,
        }
        with self._db.write() as connection:
            return connection.execute(statement, bound).first() is not None

    def next_due_s(self) -> float | None:
        with self._db.read() as connection:
            wait = connection.execute(
                sa.text(f"SELECT min(due_at) - {self._db.clock} FROM outbox WHERE state = 'pending'")
            ).scalar()
        return None if wait is None else float(wait)

    def of_job(self, tenant_id: str, job_id: str) -> "builtins.list[Delivery]":
        query = f"SELECT {COLUMNS} FROM outbox WHERE tenant_id = :tenant AND job_id = :job ORDER BY created_at, id"
        with self._db.read() as connection:
            rows = connection.execute(sa.text(query), {"tenant": tenant_id, "job": job_id})
            return [_delivery(row) for row in rows]

    def resend(self, tenant_id: str, delivery_id: str) -> bool:
        statement = sa.text(
            f"UPDATE outbox SET state = 'pending', attempts = 0, due_at = {self._db.clock}, delivered_at = NULL "
            "WHERE tenant_id = :tenant AND id = :id AND leased_by IS NULL RETURNING id, tenant_id, job_id"
        )
        with self._db.write() as connection:
            row = connection.execute(statement, {"tenant": tenant_id, "id": delivery_id}).first()
            if row is None:
                return False
            auditing.note(
                self._db,
                connection,
                action="webhooks.resend",
                kind="job",
                object_id=row.job_id,
                tenant_id=row.tenant_id,
                after={"webhook_id": row.id},
            )
            return True

    def delete_settled(self, *, older_than_s: float, limit: int) -> int:
        with self._db.write() as connection:
            return connection.execute(
                sa.text(
                    "DELETE FROM outbox WHERE id IN (SELECT id FROM outbox WHERE state <> 'pending' "
                    f"AND created_at < {self._db.clock} - :age LIMIT :n)"
                ),
                {"age": older_than_s, "n": limit},
            ).rowcount


def _delivery(row: "sa.Row[tuple[object, ...]]") -> Delivery:
    values = dict(row._mapping)
    return Delivery(**{**values, "state": DeliveryState(values["state"])})
