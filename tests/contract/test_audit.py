"""The audit record on SQLite and PostgreSQL: one chain, in the transaction of each change, that nobody may rewrite."""

import dataclasses
import json

import pytest
import sqlalchemy as sa

from inference.access import audit, keys
from inference.access.acting import acting
from inference.access.model import ANYBODY, AuditRecord, Limits, Role, Scope, Tenant
from inference.access.ports import AccessPorts, AuditFilter
from inference.errors import NameExists, WrongState
from inference.ids import DEFAULT_TENANT, new_id
from inference.registry.model import ModelState, ModelVersion, Signature
from inference.registry.ports import StoredBlob
from inference.serving.model import Deployment, ServiceConfig, ServiceState
from inference.store import tables
from inference.store.database import Database
from inference.store.deployments import SqlDeployments
from inference.store.jobs import SqlJobs
from inference.store.models import SqlModels
from inference.store.services import SqlServices
from inference.store.uploads import SqlUploads
from tests.contract import jobs
from tests.contract.audits import MINE, WHO, recorded, service_of

S = ServiceState


def told(database: Database) -> list[tuple[str, str, dict[str, object], dict[str, object]]]:
    return [(one.action, one.object_id, dict(one.before), dict(one.after)) for one in recorded(database)]


def make_model() -> ModelVersion:
    return ModelVersion(
        id=new_id(),
        tenant_id=DEFAULT_TENANT,
        name="digits",
        version="1.0.0",
        framework="onnx",
        state=ModelState.REGISTERED,
        sha256="a" * 64,
        size_bytes=5,
        golden="b" * 64,
        signature=Signature(inputs=(), outputs=(), engine_inputs=(), engine_outputs=()),
        metadata={"author": "SEEN-NOWHERE"},
        created_at=5.0,
    )


def test_a_record_says_who_from_where_by_which_call_what_before_and_after(migrated: Database, ports: AccessPorts):
    services, service = SqlServices(migrated), service_of()
    services.insert(service)

    with acting(WHO):
        services.move(MINE, service.id, allowed=[S.PENDING], to=S.DEPLOYING, reason="asked")

    (found,) = recorded(migrated)
    with migrated.read() as connection:
        assert abs(found.at - migrated.now_s(connection)) < 60
    assert dataclasses.replace(found, at=0.0, hash="") == AuditRecord(
        seq=1,
        at=0.0,
        tenant_id=DEFAULT_TENANT,
        actor_kind="key",
        actor_id="0b51e3c2a9d4",
        actor_name="line 3",
        address="192.0.2.7",
        operation="POST /x",
        action="service.start",
        object_kind="service",
        object_id=service.id,
        before={"state": "pending"},
        after={"state": "deploying"},
        previous_hash="",
        hash="",
    )
    assert ports.audit.head() == (1, found.hash)
    assert audit.verify(ports).is_sound


def test_what_the_system_does_by_itself_is_not_recorded(migrated: Database):
    services, service = SqlServices(migrated), service_of()

    services.insert(service)
    services.move(None, service.id, allowed=[S.PENDING], to=S.DEPLOYING, reason="asked")
    services.move(None, service.id, allowed=[S.DEPLOYING], to=S.RUNNING, reason="ready")
    services.configure(MINE, service.id, config=ServiceConfig(replicas=2), replicas_only=True)
    services.delete(MINE, service.id)

    assert recorded(migrated) == []


def test_each_act_on_a_service_is_a_record_and_what_changes_nothing_is_none(migrated: Database):
    services, service = SqlServices(migrated), service_of()

    with acting(WHO):
        services.insert(service)
        services.move(MINE, service.id, allowed=[S.PENDING], to=S.DEPLOYING, reason="asked")
        services.move(MINE, service.id, allowed=[S.PENDING], to=S.DEPLOYING, reason="asked twice")
        services.configure(MINE, service.id, config=ServiceConfig(replicas=2), replicas_only=True)
        services.configure(MINE, service.id, config=ServiceConfig(replicas=2), replicas_only=True)
        services.configure(MINE, service.id, config=ServiceConfig(replicas=2, allow_code=True), replicas_only=False)
        services.move(MINE, service.id, allowed=[S.DEPLOYING], to=S.STOPPING, reason="asked")
        services.delete(MINE, service.id)

    created, *changes, deleted = told(migrated)
    assert [change[0] for change in changes] == [
        "service.start", "service.configure", "service.configure", "service.stop",
    ]  # fmt: skip
    assert (created[0], created[2], created[3]["state"]) == ("service.create", {}, "pending")
    assert changes[1][2:] == ({"config": {"replicas": 1}}, {"config": {"replicas": 2}})
    assert changes[2][2:] == (
        {"revision": 1, "config": {"allow_code": False}},
        {"revision": 2, "config": {"allow_code": True}},
    )
    assert (deleted[0], deleted[2]["name"], deleted[3]) == ("service.delete", service.name, {})


def test_keys_that_go_with_their_service_or_tenant_are_recorded_one_by_one(migrated: Database, ports: AccessPorts):
    services, service = SqlServices(migrated), service_of("acme")

    with acting(WHO):
        ports.tenants.insert(Tenant(id="acme", name="Acme", created_at=0.0))
        services.insert(service)
        of_service = make_key(ports, Scope("acme", service_id=service.id)).key
        of_tenant = make_key(ports, Scope("acme")).key
        services.delete(Scope("acme"), service.id)
        ports.tenants.delete("acme")

    assert [(one.action, one.object_id) for one in recorded(migrated)][-4:] == [
        ("key.revoke", of_service.id),
        ("service.delete", service.id),
        ("key.revoke", of_tenant.id),
        ("tenant.delete", "acme"),
    ]
    assert {one.tenant_id for one in recorded(migrated)} == {"acme"}


def make_key(ports: AccessPorts, scope: Scope = MINE) -> keys.Shown:
    return keys.create(ports, by=ANYBODY, name="line 3", role=Role.SUBMITTER, scope=scope)


def test_models_uploads_and_deployments_are_recorded_without_what_was_written_freely(migrated: Database):
    models, model = SqlModels(migrated), make_model()
    deployment = Deployment(
        id=new_id(),
        tenant_id=DEFAULT_TENANT,
        model_id=model.id,
        service_id=new_id(),
        environment="production",
        config={"note": "SEEN-NOWHERE"},
        created_at=5.0,
    )

    with acting(WHO):
        models.insert(model)
        models.set_state(DEFAULT_TENANT, model.id, ModelState.DEPRECATED)
        models.set_state(DEFAULT_TENANT, model.id, ModelState.DEPRECATED)
        models.delete(DEFAULT_TENANT, model.id)
        SqlUploads(migrated).insert(DEFAULT_TENANT, "u", StoredBlob(key="c" * 64, size_bytes=7))
        SqlDeployments(migrated).insert(deployment)

    registered, deprecated, deleted, uploaded, deployed = told(migrated)
    assert (registered[:2], registered[3]["runs_code"]) == (("model.register", model.id), False)
    assert deprecated[0:1] + deprecated[2:] == ("model.deprecate", {"state": "registered"}, {"state": "deprecated"})
    assert (deleted[0], deleted[2]["sha256"]) == ("model.delete", "a" * 64)
    assert uploaded == ("upload.create", "u", {}, {"sha256": "c" * 64, "size_bytes": 7})
    assert (deployed[0], deployed[3]["environment"]) == ("deployment.create", "production")
    assert "SEEN-NOWHERE" not in json.dumps(told(migrated))


def test_a_change_that_is_refused_or_rolled_back_leaves_no_record(migrated: Database, ports: AccessPorts):
    services, service = SqlServices(migrated), service_of()

    def change_and_fail() -> None:
        with migrated.write() as connection:
            services._audit(connection, "service.stop", service, {"state": "a"}, {"state": "b"})
            raise WrongState("Not now.")

    with acting(WHO):
        services.insert(service)
        with pytest.raises(NameExists):
            services.insert(dataclasses.replace(service, id=new_id()))
        with pytest.raises(WrongState):
            change_and_fail()

    assert [one.action for one in recorded(migrated)] == ["service.create"]
    assert audit.verify(ports).is_sound


def test_of_keys_neither_text_nor_digest_is_recorded(migrated: Database, ports: AccessPorts):
    with acting(WHO):
        made = make_key(ports)
        again = keys.rotate(ports, by=ANYBODY, key_id=made.key.id, overlap_s=60.0)
        keys.change(ports, by=ANYBODY, key_id=made.key.id, limits=Limits(requests_per_s=5.0))
        keys.revoke(ports, by=ANYBODY, key_id=made.key.id)
        keys.revoke(ports, by=ANYBODY, key_id=made.key.id)

    with migrated.read() as connection:
        kept = connection.execute(sa.select(tables.api_keys)).one()
        written = str(connection.execute(sa.select(tables.audit)).all())
    assert [one.action for one in recorded(migrated)] == ["key.create", "key.rotate", "key.change", "key.revoke"]
    assert made.key.id in written
    for secret in (made.text, again.text):
        assert secret not in written
        assert secret.split("_")[2] not in written
    for digest in (kept.digest, kept.previous_digest):
        assert bytes(digest).hex() not in written
        assert repr(bytes(digest))[2:-1] not in written


def test_a_cancelled_task_is_one_record_however_often_it_is_asked_for(migrated: Database):
    store = SqlJobs(migrated)
    jobs.add_service(migrated)
    by = jobs.add_instance(migrated)
    first, second = jobs.queue(store, jobs.job(), jobs.job())
    (running,) = store.claim(by, max_rows=1).jobs
    waiting = second if running.id == first else first

    with acting(WHO):
        states = [store.cancel(MINE, job_id) for job_id in (waiting, waiting, running.id, running.id)]

    assert states == ["cancelled", "cancelled", "running", "running"]
    asked = {"service_id": jobs.SERVICE, "cancel_requested": True}
    assert told(migrated) == [
        ("job.cancel", waiting, {"state": "pending"}, {"state": "cancelled", **asked}),
        ("job.cancel", running.id, {}, asked),
    ]


def test_a_task_that_is_over_is_not_cancelled_and_not_recorded(migrated: Database):
    store = SqlJobs(migrated)
    jobs.add_service(migrated)
    (job_id,) = jobs.queue(store, jobs.job())
    with migrated.write() as connection:
        connection.execute(tables.jobs.update().values(state="completed"))

    with acting(WHO), pytest.raises(WrongState):
        store.cancel(MINE, job_id)

    assert recorded(migrated) == []


def test_records_are_found_by_all_that_they_can_be_asked_for(migrated: Database, ports: AccessPorts):
    services, made = SqlServices(migrated), [service_of("a"), service_of("b")]
    for number, service in enumerate(made):
        with acting(dataclasses.replace(WHO, id=f"key{number}")):
            services.insert(service)
            services.move(None, service.id, allowed=[S.PENDING], to=S.DEPLOYING, reason="asked")
    middle = recorded(migrated)[2].at

    def seqs(**asked: object) -> list[int]:
        return [one.seq for one in ports.audit.find(AuditFilter(**{"tenant_id": None, **asked}))]

    assert seqs() == [4, 3, 2, 1]
    assert seqs(tenant_id="a") == seqs(actor_id="key0") == seqs(object_id=made[0].id) == [2, 1]
    assert seqs(action="service.start") == [4, 2]
    assert (seqs(object_kind="service", limit=3), seqs(object_kind="key")) == ([4, 3, 2], [])
    assert (seqs(before_seq=3), seqs(after_seq=2)) == ([2, 1], [3, 4])
    assert set(seqs(at_from=middle)) | set(seqs(at_to=middle)) == {1, 2, 3, 4}
    assert set(seqs(at_from=middle)) & set(seqs(at_to=middle)) == set()
