"""Which services name a fallback and have no room, and their waiting jobs given to it."""

from collections.abc import Sequence

import sqlalchemy as sa

from inference.serving.model import MEANT_TO_RUN, Service, ServiceState
from inference.store.database import Database
from inference.store.services import service_of
from inference.store.tables import services

_NAMING = '%"fallback_service_id": "%'
"""How the config of a service that names one is written; a null is not."""
_STATES = (*MEANT_TO_RUN, ServiceState.PREEMPTED)


class SqlFallback:
    """`FallbackStore` on SQLite or PostgreSQL. `silence_s`: when a node counts as dead."""

    def __init__(self, database: Database, *, silence_s: float) -> None:
        self._db = database
        self._silence_s = silence_s

    def naming(self) -> Sequence[Service]:
        wanted = sa.select(services).where(
            services.c.config.like(_NAMING), services.c.state.in_([state.value for state in _STATES])
        )
        with self._db.read() as connection:
            return [service_of(row) for row in connection.execute(wanted.order_by(services.c.id))]

    def is_held(self, service_id: str) -> bool:
        found = sa.text(
            "SELECT 1 FROM replicas r JOIN nodes n ON n.id = r.node_id WHERE r.service_id = :id "
            f"AND r.desired = 'running' AND n.heartbeat_at > {self._db.clock} - :silence LIMIT 1"
        )
        with self._db.read() as connection:
            return connection.execute(found, {"id": service_id, "silence": float(self._silence_s)}).first() is not None

    def hand_over(self, service_id: str, to: str, *, older_than_s: float, limit: int) -> int:
        """A job that a worker, or a cancellation, takes in the same moment is left to them.

        As a plain IN, PostgreSQL may ask for the choice again for each row, and take more than `limit`.
        """
        lock = "" if self._db.is_sqlite else " FOR UPDATE SKIP LOCKED"
        chosen = (
            "SELECT id FROM jobs WHERE service_id = :service AND state = 'pending' AND not_before IS NULL "
            f"AND submitted_at < {self._db.clock} - :age ORDER BY order_key, id LIMIT :n{lock}"
        )
        once = f"IN ({chosen})" if self._db.is_sqlite else f"= ANY(ARRAY({chosen}))"
        change = sa.text(
            "UPDATE jobs SET service_id = :to, asked_service_id = COALESCE(asked_service_id, :service) "
            f"WHERE id {once} AND state = 'pending' AND service_id = :service"
        )
        bound = {"service": service_id, "to": to, "age": float(older_than_s), "n": limit}

        def work() -> int:
            with self._db.write() as connection:
                return connection.execute(change, bound).rowcount

        return self._db.again(work)
