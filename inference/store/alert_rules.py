"""Alert rules that somebody made or changed, and silences, as rows; every change with its audit record."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from inference.alerts.model import Rule, Silence
from inference.errors import NameExists, SilenceNotFound
from inference.store import auditing
from inference.store.database import Database
from inference.store.tables import alert_rules, alert_silences
from inference.store.upsert import insert_or_replace

_IN_COLUMNS = ("id", "tenant_id", "name", "service_id", "created_at", "updated_at")
_QUIET = (*_IN_COLUMNS, "is_default")
MOST = 10_000


class SqlAlertRules:
    """`RuleStore` on SQLite and PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def rules(self, tenant_id: str | None) -> Sequence[Rule]:
        mine = sa.true() if tenant_id is None else alert_rules.c.tenant_id == tenant_id
        with self._db.read() as connection:
            found = connection.execute(sa.select(alert_rules.c.body).where(mine).order_by(alert_rules.c.id))
            return [msgspec.json.decode(body, type=Rule) for body in found.scalars()]

    def save(self, rule: Rule, *, before: Rule | None) -> Rule:
        with self._db.write() as connection:
            now = self._db.now_s(connection)
            made = dataclasses.replace(rule, created_at=rule.created_at or now, updated_at=now)
            taken = sa.select(alert_rules.c.id).where(
                alert_rules.c.tenant_id == rule.tenant_id,
                alert_rules.c.name == rule.name,
                alert_rules.c.id != rule.id,
            )
            if connection.execute(taken).first() is not None:
                raise NameExists(f"There is an alert rule '{rule.name}' already.", name=rule.name)
            values = {name: getattr(made, name) for name in _IN_COLUMNS}
            values["body"] = msgspec.json.encode(made).decode()
            connection.execute(insert_or_replace(self._db, alert_rules, values, key=("id",)))
            self._audit(connection, "alert_rule.set", before, made)
        return made

    def delete(self, rule: Rule) -> None:
        mine = (alert_rules.c.id == rule.id) & (alert_rules.c.tenant_id == rule.tenant_id)
        with self._db.write() as connection:
            connection.execute(sa.delete(alert_rules).where(mine))
            self._audit(connection, "alert_rule.delete", rule, None)

    def silences(self, tenant_id: str | None, *, now: float) -> Sequence[Silence]:
        mine = sa.true() if tenant_id is None else alert_silences.c.tenant_id == tenant_id
        query = sa.select(alert_silences).where(mine, alert_silences.c.until > now)
        with self._db.read() as connection:
            rows = connection.execute(query.order_by(alert_silences.c.id.desc()).limit(MOST))
            return [Silence(**row._mapping) for row in rows]

    def silence(self, silence: Silence) -> Silence:
        with self._db.write() as connection:
            made = dataclasses.replace(silence, created_at=self._db.now_s(connection))
            values = dataclasses.asdict(made)
            connection.execute(sa.insert(alert_silences).values(**values))
            auditing.note(
                self._db,
                connection,
                action="silence.set",
                kind="silence",
                object_id=made.id,
                tenant_id=made.tenant_id,
                after={name: value for name, value in values.items() if name not in ("id", "tenant_id")},
            )
        return made

    def unsilence(self, tenant_id: str, silence_id: str) -> None:
        mine = (alert_silences.c.id == silence_id) & (alert_silences.c.tenant_id == tenant_id)
        with self._db.write() as connection:
            row = connection.execute(sa.delete(alert_silences).where(mine).returning(alert_silences)).one_or_none()
            if row is None:
                raise SilenceNotFound(f"There is no silence {silence_id}.", id=silence_id)
            auditing.note(
                self._db,
                connection,
                action="silence.delete",
                kind="silence",
                object_id=silence_id,
                tenant_id=tenant_id,
                before={"until": row.until, "rule_id": row.rule_id, "service_id": row.service_id},
            )

    def _audit(self, connection: sa.Connection, action: str, before: Rule | None, after: Rule | None) -> None:
        one = after or before
        if one is not None:
            auditing.note(
                self._db,
                connection,
                action=action,
                kind="alert_rule",
                object_id=one.id,
                tenant_id=one.tenant_id,
                before=None if before is None else told(before),
                after=None if after is None else told(after),
            )


def told(rule: Rule) -> dict[str, Any]:
    """A URL may hold a secret in its query: the audit record keeps the part before it."""
    told: dict[str, Any] = msgspec.to_builtins(rule)
    actions = [{**one, "url": str(one.get("url", "")).partition("?")[0]} for one in told["actions"]]
    return {name: value for name, value in told.items() if name not in _QUIET or name == "name"} | {"actions": actions}
