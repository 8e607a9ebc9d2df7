"""Engine processes and their leases: one row per slot of a replica, whose generation grows with each process."""

from collections.abc import Mapping

import sqlalchemy as sa

from inference.errors import WrongState
from inference.ids import new_id
from inference.store.database import Database
from inference.store.tables import instances, replicas

OVER = 0.0


class SqlInstances:
    """The `InstanceStore` of SQLite and PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._clock: sa.ColumnElement[float] = sa.literal_column(database.clock, sa.Double())
        # What it costs is worked out later; where it ran is known only as long as its replica is there.
        self._place = sa.text(
            "INSERT INTO cost_instances (id, service_id, node_id, device, opened_at) "
            f"SELECT :id, service_id, node_id, device, {database.clock} FROM replicas WHERE id = :replica "
            "ON CONFLICT DO NOTHING"
        )

    def open(
        self, *, service_id: str, replica_id: str, slot: int, replica_generation: int, pid: int, lease_s: float
    ) -> tuple[str, int]:
        """Raises WrongState when a later generation of the replica has begun."""
        values = {
            "service_id": service_id,
            "replica_generation": replica_generation,
            "pid": pid,
            "lease_until": self._clock + lease_s,
            "opened_at": self._clock,
        }
        mine = (instances.c.replica_id == replica_id) & (instances.c.slot == slot)
        reopen = sa.update(instances).where(mine).values(generation=instances.c.generation + 1, **values)
        with self._db.write() as connection:
            found = sa.select(replicas.c.generation).where(replicas.c.id == replica_id).with_for_update()
            current = connection.execute(found).scalar_one_or_none()
            if current is not None and current > replica_generation:
                raise WrongState(
                    f"Generation {replica_generation} of replica {replica_id} is over; {current} has begun.",
                    generation=current,
                )
            row = connection.execute(reopen.returning(instances.c.id, instances.c.generation)).first()
            if row is not None:
                return row.id, row.generation
            fresh = new_id()
            connection.execute(
                sa.insert(instances).values(id=fresh, replica_id=replica_id, slot=slot, generation=1, **values)
            )
            connection.execute(self._place, {"id": fresh, "replica": replica_id})
            return fresh, 1

    def renew(self, held: Mapping[str, int], *, lease_s: float) -> frozenset[str]:
        """A lease that ran out, while nobody ended it, is extended as well: the attempts of its jobs are the fence."""
        if not held:
            return frozenset()
        mine = sa.or_(
            *(
                (instances.c.id == instance_id) & (instances.c.generation == generation)
                for instance_id, generation in held.items()
            )
        )
        change = sa.update(instances).where(mine).values(lease_until=self._clock + lease_s).returning(instances.c.id)
        with self._db.write() as connection:
            return frozenset(connection.execute(change).scalars())

    def end(self, instance_id: str, generation: int) -> None:
        where = (instances.c.id == instance_id) & (instances.c.generation == generation)
        with self._db.write() as connection:
            connection.execute(self._over().where(where))

    def end_replica(self, replica_id: str) -> int:
        """Costs one read when none is open."""
        where = (instances.c.replica_id == replica_id) & (instances.c.lease_until > OVER)
        with self._db.read() as connection:
            if connection.execute(sa.select(instances.c.id).where(where).limit(1)).first() is None:
                return 0
        with self._db.write() as connection:
            return connection.execute(self._over().where(where)).rowcount

    def _over(self) -> sa.Update:
        """A grown generation: a renewal or claim of the process that is gone finds nothing."""
        return sa.update(instances).values(lease_until=OVER, generation=instances.c.generation + 1)
