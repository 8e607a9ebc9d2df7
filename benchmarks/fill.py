"""Fills tables by statements over whole sets: a million jobs in seconds, and a million that have run."""

import sqlalchemy as sa

from inference.ids import DEFAULT_TENANT
from inference.jobs.model import Claimant
from inference.store.database import Database
from inference.store.tables import services
from tests.contract.jobs import add_instance

PAYLOAD_BYTES = 256
CHUNK = 20_000
HEAD_START_S = 300.0
BASE_S = 1.7e9
"""When the first of these jobs was submitted; those after it a tenth of a millisecond later each."""


def service(db: Database, number: int = 0) -> Claimant:
    """A running service, and an instance of it."""
    service_id = f"{number:032x}"
    with db.write() as connection:
        now = db.now_s(connection)
        connection.execute(
            services.insert(),
            {
                "id": service_id,
                "tenant_id": DEFAULT_TENANT,
                "name": f"bench-{number}",
                "model_id": "a" * 32,
                "state": "running",
                "config": "{}",
                "queue_while_stopped": False,
                "revision": 1,
                "created_at": now,
                "updated_at": now,
            },
        )
    return instance(db, service_id)


def instance(db: Database, service_id: str) -> Claimant:
    """One more instance of the service; its lease outlives every benchmark."""
    return add_instance(db, service_id, lease_s=86_400)


class Filler:
    """Makes jobs with numbers that grow, so that ids and times of submission grow as they do in life."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._next = 1
        self._id = "printf('%032x', n)" if db.is_sqlite else "lpad(to_hex(n), 32, '0')"
        body = f"zeroblob({PAYLOAD_BYTES})" if db.is_sqlite else f"decode(repeat('00', {PAYLOAD_BYTES}), 'hex')"
        self._jobs = sa.text(
            "INSERT INTO jobs (id, tenant_id, service_id, state, priority, order_key, submitted_at, not_before, "
            f"timeout_s, bucket, rows, max_attempts) SELECT {self._id}, '{DEFAULT_TENANT}', "
            f"{self._service()}, 'pending', n % :levels, "
            f"{BASE_S} + n * 0.0001 - {HEAD_START_S} * (n % :levels), {BASE_S} + n * 0.0001, "
            f"CAST(:not_before AS {'REAL' if db.is_sqlite else 'float8'}), 60, 'x:float32[*,2]', 1, 3 "
            f"FROM {self._numbers()}"
        )
        self._payloads = sa.text(
            f"INSERT INTO payloads (job_id, body) SELECT {self._id}, {body} FROM {self._numbers()}"
        )

    def _service(self) -> str:
        number = "(CAST(:service AS bigint) + n % :services)"
        return f"printf('%032x', {number})" if self._db.is_sqlite else f"lpad(to_hex({number}), 32, '0')"

    def _numbers(self) -> str:
        if self._db.is_sqlite:
            return "(WITH RECURSIVE s(n) AS (SELECT :a UNION ALL SELECT n + 1 FROM s WHERE n + 1 < :b) SELECT n FROM s)"
        return "generate_series(CAST(:a AS bigint), CAST(:b AS bigint) - 1) AS s(n)"

    def add(
        self, jobs: int, *, service: int = 0, services: int = 1, levels: int = 10, not_before: float | None = None
    ) -> tuple[int, int]:
        """So many waiting jobs, dealt out to `services` from number `service` on, and to `levels` priorities.

        `not_before`: they are in backoff until then. Returns the number of the first, and the one after the last.
        """
        first, end = self._next, self._next + jobs
        bound = {"service": service, "services": services, "levels": levels, "not_before": not_before}
        for a in range(first, end, CHUNK):
            span = {"a": a, "b": min(a + CHUNK, end)}
            with self._db.write() as connection:
                connection.execute(self._jobs, bound | span)
                connection.execute(self._payloads, span)
        self._next = end
        return first, end

    def churn(self, jobs: int, by: Claimant) -> None:
        """So many jobs come, are claimed, and complete, each move of a chunk in a transaction of its own."""
        clock, service = self._db.clock, int(by.service_id, 16)
        ended = (
            "INSERT INTO attempts (job_id, generation, attempt, ended_at, outcome) "
            f"SELECT id, 1, 1, {clock}, 'completed' FROM jobs WHERE id >= :a AND id < :b",
            "INSERT INTO results (job_id, body) SELECT job_id, body FROM payloads WHERE job_id >= :a AND job_id < :b",
            f"UPDATE jobs SET state = 'completed', completed_at = {clock} WHERE id >= :a AND id < :b",
        )
        claimed = (
            f"UPDATE jobs SET state = 'running', attempt = 1, instance_id = '{by.instance_id}', "
            f"instance_generation = 1, claimed_at = {clock}, started_at = {clock} WHERE id >= :a AND id < :b"
        )
        for done in range(0, jobs, CHUNK):
            first, end = self.add(min(CHUNK, jobs - done), service=service, levels=1)
            span = {"a": f"{first:032x}", "b": f"{end:032x}"}
            with self._db.write() as connection:
                connection.execute(sa.text(claimed), span)
            with self._db.write() as connection:
                for statement in ended:
                    connection.execute(sa.text(statement), span)
