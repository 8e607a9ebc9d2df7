"""What replicas hold, added up by day, and what of it was used: `usage` by instance, whose place and part are kept."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from inference.costs.model import CPU, GPU, Card, Cost, CostGroup, Occupant, Run
from inference.costs.ports import CountHeld, Held
from inference.store.database import Database

TICK = "costs"
THERE = "('starting', 'ready', 'draining')"
ROWS = {
    "day": "int",
    "tenant_id": "text",
    "service_id": "text",
    "device_kind": "text",
    "purchase": "text",
    "held_s": "float8",
    "cpu_s": "float8",
    "money": "float8",
}
PLACES = {
    "replica_id": "text",
    "device_kind": "text",
    "purchase": "text",
    "units": "float8",
    "cpus": "float8",
}
_PLACED = ("device_kind", "purchase", "units", "cpus")
KIND = (
    "COALESCE(i.device_kind, "
    f"CASE WHEN i.id IS NULL THEN 'unknown' WHEN i.device = '{CPU}' THEN '{CPU}' ELSE '{GPU}' END)"
)
"""Of an instance that lived too briefly to be sampled, as far as is known."""
GROUPS: Mapping[CostGroup, str] = {
    CostGroup.SERVICE: "service_id",
    CostGroup.TENANT: "tenant_id",
    CostGroup.DAY: "day",
    CostGroup.DEVICE: "device_kind",
}


class SqlCosts:
    """`CostStore` on SQLite or PostgreSQL. `threads`: what an instance computes with unless its service says."""

    def __init__(self, database: Database, *, silence_s: float, threads: int) -> None:
        self._db = database
        self._silence_s = silence_s
        self._threads = threads

    def sample(self, *, every_s: float, most_s: float, count: CountHeld) -> bool:
        occupants, cards = self.occupants()
        last = sa.text(f"SELECT taken_at FROM ticks WHERE name = :name{'' if self._db.is_sqlite else ' FOR UPDATE'}")

        def work() -> bool:
            with self._db.write() as connection:
                now = self._db.now_s(connection)
                since = connection.execute(last, {"name": TICK}).scalar_one_or_none()
                if since is not None and 0 <= now - since < every_s:
                    return False
                if not self._take(connection, now, is_first=since is None):
                    return False
                since = now if since is None or since > now else max(since, now - most_s)
                self._add(connection, count(occupants, cards, since, now))
                return True

        return self._db.again(work)

    def _take(self, connection: sa.Connection, now: float, *, is_first: bool) -> bool:
        change = (
            "INSERT INTO ticks (name, taken_at, taken_by, count) VALUES (:name, :now, '', 1) ON CONFLICT DO NOTHING"
            if is_first
            else "UPDATE ticks SET taken_at = :now, count = count + 1 WHERE name = :name"
        )
        return connection.execute(sa.text(f"{change} RETURNING name"), {"name": TICK, "now": now}).first() is not None

    def _add(self, connection: sa.Connection, held: Held) -> None:
        if held.rows:
            names = ", ".join(ROWS)
            listed = [tuple(getattr(row, name) for name in ROWS) for row in held.rows]
            sums = ", ".join(f"{name} = cost_days.{name} + excluded.{name}" for name in ("held_s", "cpu_s", "money"))
            connection.execute(
                sa.text(
                    f"INSERT INTO cost_days ({names}) SELECT {names} FROM {self._db.rows_from('r', ROWS)} WHERE true "
                    f"ON CONFLICT (day, tenant_id, service_id, device_kind, purchase) DO UPDATE SET {sums}"
                ),
                self._db.rows("r", ROWS, listed),
            )
        if held.holdings:
            placed = [
                (
                    one.replica_id,
                    one.device_kind,
                    one.purchase.value,
                    one.units / max(1, one.instances),
                    one.cpus / max(1, one.instances),
                )
                for one in held.holdings
            ]
            connection.execute(self._place(), self._db.rows("h", PLACES, placed))

    def _place(self) -> sa.TextClause:
        """Notes each instance's part of its device, where that is news."""
        names = ", ".join(_PLACED)
        changes = ", ".join(f"{name} = excluded.{name}" for name in _PLACED)
        differs = " OR ".join(
            f"cost_instances.{name} IS NULL OR cost_instances.{name} <> excluded.{name}" for name in _PLACED
        )
        return sa.text(
            f"INSERT INTO cost_instances (id, service_id, node_id, device, opened_at, {names}) "
            f"SELECT i.id, i.service_id, r.node_id, r.device, i.opened_at, {', '.join(f'h.{n}' for n in _PLACED)} "
            f"FROM {self._db.rows_from('h', PLACES)} JOIN replicas r ON r.id = h.replica_id "
            "JOIN instances i ON i.replica_id = r.id WHERE true "
            f"ON CONFLICT (id) DO UPDATE SET {changes} WHERE {differs}"
        )

    def occupants(self) -> tuple[Sequence[Occupant], Mapping[tuple[str, str], Card]]:
        there = sa.text(
            "SELECT r.id, r.service_id, r.node_id, r.device, r.instances, s.tenant_id, s.config, n.inventory "
            "FROM replicas r JOIN services s ON s.id = r.service_id JOIN nodes n ON n.id = r.node_id "
            f"WHERE r.observed IN {THERE} AND n.heartbeat_at > {self._db.clock} - :silence ORDER BY r.id"
        )
        known = sa.text(
            "SELECT d.node_id, d.uuid, d.name, d.memory_bytes, p.memory_bytes AS whole FROM devices d "
            "LEFT JOIN devices p ON p.node_id = d.node_id AND p.uuid = d.parent_uuid"
        )
        with self._db.read() as connection:
            rows = connection.execute(there, {"silence": float(self._silence_s)}).all()
            cards = {
                (row.node_id, row.uuid): Card(
                    kind=row.name[:128],
                    memory_bytes=row.memory_bytes,
                    part=min(1.0, row.memory_bytes / row.whole) if row.whole else 1.0,
                )
                for row in (connection.execute(known) if any(row.device != CPU for row in rows) else ())
            }
        return [self._occupant(row) for row in rows], cards

    def _occupant(self, row: "sa.Row[Any]") -> Occupant:
        config = json.loads(row.config)
        needs = config.get("requirements", {})
        return Occupant(
            replica_id=row.id,
            tenant_id=row.tenant_id,
            service_id=row.service_id,
            node_id=row.node_id,
            device=row.device,
            purchase=str(json.loads(row.inventory).get("purchase", "")),
            instances=row.instances,
            threads=config.get("threads") or self._threads,
            gpu=needs.get("gpu", 0),
            gpu_memory_bytes=needs.get("gpu_memory_bytes", 0),
            cpus=needs.get("cpu", 0.0),
        )

    def find(self, tenant_id: str | None, *, day_from: int, day_to: int, by: CostGroup) -> Sequence[Cost]:
        """What is used of what is held is worked out by day, service, kind and purchase, and then summed."""
        mine = "" if tenant_id is None else " AND {0}.tenant_id = :tenant"
        keys = "day, tenant_id, service_id, device_kind, purchase"
        held = (
            f"SELECT {keys}, held_s, cpu_s, money, 0.0 AS used_s, 0 AS jobs, 0 AS rows FROM cost_days c "
            f"WHERE day >= :first AND day < :last{mine.format('c')}"
        )
        used = (
            f"SELECT u.day, u.tenant_id, u.service_id, {KIND}, COALESCE(i.purchase, 'on_demand'), 0.0, 0.0, 0.0, "
            "u.engine_s * COALESCE(i.units, 1.0), u.jobs, u.rows "
            "FROM usage u LEFT JOIN cost_instances i ON i.id = u.instance_id "
            f"WHERE u.day >= :first AND u.day < :last{mine.format('u')}"
        )
        fine = (
            f"SELECT {keys}, sum(held_s) AS held_s, sum(cpu_s) AS cpu_s, sum(money) AS money, sum(used_s) AS used_s, "
            f"sum(jobs) AS jobs, sum(rows) AS rows FROM ({held} UNION ALL {used}) AS x GROUP BY {keys}"
        )
        group = GROUPS[by]
        more = ", purchase" if by is CostGroup.DEVICE else ""
        query = sa.text(
            f"SELECT {group} AS grouped{more}, sum(held_s) AS held_s, sum(cpu_s) AS cpu_s, sum(money) AS money, "
            "sum(used_s) AS used_s, sum(jobs) AS jobs, sum(rows) AS rows, "
            "sum(CASE WHEN used_s >= held_s THEN money ELSE money * used_s / held_s END) AS used_money "
            f"FROM ({fine}) AS f GROUP BY {group}{more} ORDER BY {group}{more}"
        )
        bound = {"first": day_from, "last": day_to} | ({} if tenant_id is None else {"tenant": tenant_id})
        with self._db.read() as connection:
            found = connection.execute(query, bound).all()
            ids = [row.grouped for row in found] if by is CostGroup.SERVICE else []
            names = self._names(connection, tenant_id, ids) if ids else {}
        return [
            Cost(
                group=str(row.grouped),
                purchase=row.purchase if more else "",
                name=names.get(row.grouped),
                held_s=float(row.held_s),
                used_s=float(row.used_s),
                cpu_s=float(row.cpu_s),
                jobs=int(row.jobs),
                rows=int(row.rows),
                money=float(row.money),
                used_money=float(row.used_money),
            )
            for row in found
        ]

    def _names(self, connection: sa.Connection, tenant_id: str | None, ids: Sequence[str]) -> dict[str, str]:
        """Of the services that are still there."""
        mine = "" if tenant_id is None else " AND tenant_id = :tenant"
        query = sa.text(f"SELECT id, name FROM services WHERE {self._db.among('id', 'ids')}{mine}")
        bound = {"ids": self._db.ids(ids)} | ({} if tenant_id is None else {"tenant": tenant_id})
        return {row.id: row.name for row in connection.execute(query, bound)}

    def spent(self, tenant_id: str | None, *, day_from: int) -> Mapping[tuple[str, str], float]:
        mine = "" if tenant_id is None else " AND tenant_id = :tenant"
        query = sa.text(
            f"SELECT tenant_id, service_id, sum(money) AS money FROM cost_days WHERE day >= :first{mine} "
            "GROUP BY tenant_id, service_id"
        )
        bound = {"first": day_from} | ({} if tenant_id is None else {"tenant": tenant_id})
        with self._db.read() as connection:
            return {(row.tenant_id, row.service_id): float(row.money) for row in connection.execute(query, bound)}

    def runs(self, job_id: str) -> Sequence[Run]:
        """What was lost with its process had no end that anybody saw, and counts in `usage` no more than here."""
        query = sa.text(
            f"SELECT a.started_at, a.ended_at, a.batch_size, {KIND} AS kind, "
            "COALESCE(i.purchase, 'on_demand') AS purchase, COALESCE(i.units, 1.0) AS units, "
            "COALESCE(i.cpus, 1.0) AS cpus FROM attempts a JOIN cost_instances i ON i.id = a.instance_id "
            "WHERE a.job_id = :id AND a.started_at IS NOT NULL AND a.outcome <> 'lost'"
        )
        with self._db.read() as connection:
            return [
                Run(
                    share_s=max(0.0, row.ended_at - row.started_at) / max(1, row.batch_size or 1),
                    at=row.ended_at,
                    device_kind=row.kind,
                    purchase=row.purchase,
                    units=float(row.units),
                    cpus=float(row.cpus),
                )
                for row in connection.execute(query, {"id": job_id})
            ]
