"""One chain, whoever writes at once; and nobody rewrites it unnoticed."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from inference.access import audit
from inference.access.acting import acting
from inference.access.ports import AccessPorts
from inference.errors import StoreUnavailable
from inference.serving.model import Service, ServiceState
from inference.store.database import Database
from inference.store.services import SqlServices
from tests.contract.audits import MINE, WHO, recorded, service_of

S = ServiceState


def test_eight_writers_at_once_make_one_chain_without_gap(migrated: Database, ports: AccessPorts):
    services = SqlServices(migrated)
    made = [service_of() for _ in range(8)]
    start = Barrier(8)

    def write(service: Service) -> None:
        start.wait()
        with acting(WHO):
            services.insert(service)
            for _ in range(5):
                services.move(MINE, service.id, allowed=[S.PENDING, S.STOPPING], to=S.DEPLOYING, reason="asked")
                services.move(MINE, service.id, allowed=[S.DEPLOYING], to=S.STOPPING, reason="asked")
            services.delete(MINE, service.id)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, made))

    found = recorded(migrated)
    assert [one.seq for one in found] == list(range(1, 8 * 12 + 1))
    assert ports.audit.head() == (found[-1].seq, found[-1].hash)
    assert audit.verify(ports) == audit.Soundness(records=96, head=found[-1].hash)


STATEMENTS = {
    "update": "UPDATE audit SET actor_name = 'nobody' WHERE seq = 1",
    "update of none": "UPDATE audit SET actor_name = 'nobody'",
    "delete": "DELETE FROM audit WHERE seq = 2",
    "replace": "",
    "truncate": "TRUNCATE audit",
}
REPLACE = (
    "INSERT OR REPLACE INTO audit SELECT 1, at, tenant_id, actor_kind, actor_id, 'nobody', address, operation, action, "
    "object_kind, object_id, before, after, previous_hash, hash FROM audit WHERE seq = 2"
)


@pytest.mark.parametrize("verb", STATEMENTS)
def test_the_database_refuses_to_change_or_remove_a_record(migrated: Database, ports: AccessPorts, verb: str):
    statement = STATEMENTS[verb]
    if verb == "replace":
        statement = REPLACE if migrated.is_sqlite else "INSERT INTO audit SELECT * FROM audit WHERE seq = 1 " + UPSERT
    elif verb == "truncate" and migrated.is_sqlite:
        statement = "DELETE FROM audit"
    services = SqlServices(migrated)
    with acting(WHO):
        for _ in range(2):
            services.insert(service_of())
    before = recorded(migrated)

    with pytest.raises(Exception, match="append-only"), migrated.write() as connection:
        connection.exec_driver_sql(statement)

    assert recorded(migrated) == before
    assert audit.verify(ports).is_sound


UPSERT = "ON CONFLICT (seq) DO UPDATE SET actor_name = 'nobody'"


def unlocked(database: Database, *statements: str) -> None:
    """What somebody with the owner's rights may do to the database: the chain has to tell."""
    with database.write() as connection:
        if database.is_sqlite:
            for (name,) in connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'trigger'").all():
                connection.exec_driver_sql(f"DROP TRIGGER {name}")
        else:
            connection.exec_driver_sql("ALTER TABLE audit DISABLE TRIGGER ALL")
        for statement in statements:
            connection.exec_driver_sql(statement)


@pytest.mark.parametrize(
    ("statements", "says"),
    [
        (["DELETE FROM audit WHERE seq = 3"], "Record 3 is missing."),
        (["DELETE FROM audit WHERE seq >= 4"], "Records 4 to 5 are missing."),
        (["DELETE FROM audit"], "Records 1 to 5 are missing."),
        (["UPDATE audit SET actor_name = 'nobody' WHERE seq = 2"], "Record 2 was changed"),
        (["UPDATE audit SET at = at + 1 WHERE seq = 2"], "Record 2 was changed"),
        (["DELETE FROM audit WHERE seq = 2", "UPDATE audit SET seq = 2 WHERE seq = 3",
          "UPDATE audit SET seq = 3 WHERE seq = 4", "UPDATE audit SET seq = 4 WHERE seq = 5"], "Record 2 was changed"),
        (["DELETE FROM audit WHERE seq = 5", "UPDATE audit_head SET seq = 4"], "Record 4 is not the one"),
        (["UPDATE audit_head SET seq = 3, hash = (SELECT hash FROM audit WHERE seq = 3)"], "should end at record 3"),
        (["DELETE FROM audit_head"], "should end at record 0"),
    ],
)  # fmt: skip
def test_who_gets_past_the_triggers_is_found_out(migrated: Database, ports: AccessPorts, statements, says):
    services = SqlServices(migrated)
    with acting(WHO):
        for _ in range(5):
            services.insert(service_of())
    sound = audit.verify(ports)

    unlocked(migrated, *statements)
    found = audit.verify(ports)

    assert sound.is_sound
    assert found.broken is not None
    assert says in found.broken.message


def test_without_the_end_of_the_chain_nothing_is_changed_unrecorded(migrated: Database):
    services, service = SqlServices(migrated), service_of()
    unlocked(migrated, "DELETE FROM audit_head")

    with acting(WHO), pytest.raises(StoreUnavailable):
        services.insert(service)

    assert services.list(MINE) == []
