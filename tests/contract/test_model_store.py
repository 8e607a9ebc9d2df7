"""Model versions and uploads, on every database."""

import dataclasses
import threading

import pytest
import sqlalchemy as sa

from inference.errors import InUse, ModelNotFound, UploadNotFound, VersionExists
from inference.ids import new_id
from inference.registry.model import ModelState, ModelVersion, Signature
from inference.registry.ports import StoredBlob
from inference.store import tables
from inference.store.models import SqlModels
from inference.store.uploads import SqlUploads
from inference.tensors import TensorSpec

SPEC = TensorSpec(name="x", dtype="float32", shape=(None, 3))


def version(number="1.0.0", **changes):
    plain = ModelVersion(
        id=new_id(),
        tenant_id="default",
        name="digits",
        version=number,
        framework="onnx",
        state=ModelState.REGISTERED,
        sha256="a" * 64,
        size_bytes=5_000_000_000,
        golden="b" * 64,
        signature=Signature(
            inputs=(SPEC,), outputs=(SPEC,), engine_inputs=(SPEC,), engine_outputs=(SPEC,), joins=False
        ),
        hooks={"preprocess": [{"do": "flatten", "tensor": "x"}]},
        metadata={"ü": "\u0000", "n": 1 << 70},
        accuracy_metrics={"top1": 0.5},
        deployment_config={"replicas": 2},
        runs_code=True,
        created_at=1_700_000_000.123456,
    )
    return dataclasses.replace(plain, **changes)


@pytest.fixture
def models(database):
    return SqlModels(database)


def test_what_is_inserted_is_read_back_unchanged(models):
    model = version()

    models.insert(model)

    assert models.get("default", model.id) == model
    assert models.find("default", "digits", "1.0.0") == model
    assert models.list("default") == [model]


def test_a_version_exists_once_per_tenant(models):
    models.insert(version())

    with pytest.raises(VersionExists, match=r"Version 1\.0\.0 of model 'digits' exists already"):
        models.insert(version())
    models.insert(version(tenant_id="other"))
    models.insert(version("1.0.1"))


def test_of_many_that_insert_the_same_version_at_once_one_wins(models):
    outcomes = []

    def insert():
        try:
            models.insert(version())
            outcomes.append("inserted")
        except VersionExists:
            outcomes.append("exists")

    threads = [threading.Thread(target=insert) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(outcomes) == ["exists"] * 5 + ["inserted"]


def test_another_tenant_sees_and_touches_nothing(models):
    model = version()
    models.insert(model)

    assert models.list("other") == []
    assert models.find("other", "digits", "1.0.0") is None
    for call in (
        lambda: models.get("other", model.id),
        lambda: models.set_state("other", model.id, ModelState.DEPRECATED),
        lambda: models.delete("other", model.id),
    ):
        with pytest.raises(ModelNotFound):
            call()


def test_the_list_is_newest_first_and_goes_on_behind_the_cursor(models):
    rows = [version(f"1.0.{n}") for n in range(5)]
    for row in rows:
        models.insert(row)
    models.insert(version(name="other"))
    newest_first = sorted(rows, key=lambda row: row.id, reverse=True)

    first = models.list("default", name="digits", limit=3)
    rest = models.list("default", name="digits", limit=3, before_id=first[-1].id)

    assert [*first, *rest] == newest_first


def test_a_state_is_changed_and_told(models):
    model = version()
    models.insert(model)

    assert models.set_state("default", model.id, ModelState.DEPRECATED).state is ModelState.DEPRECATED
    assert models.get("default", model.id).state is ModelState.DEPRECATED


def test_a_deleted_model_is_gone_with_its_profiles(models, database):
    model = version()
    models.insert(model)
    with database.write() as connection:
        profile = {"model_id": model.id, "device_kind": "cpu", "provider": "cpu", "max_batch": 8, "curve": "[]"}
        connection.execute(sa.insert(tables.profiles).values(**profile, measured_at=1.0))

    models.delete("default", model.id)

    with pytest.raises(ModelNotFound):
        models.get("default", model.id)
    with database.read() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(tables.profiles)).scalar_one() == 0


def test_a_model_in_use_stays(models, database):
    model = version()
    models.insert(model)
    with database.write() as connection:
        service = {"id": new_id(), "tenant_id": "default", "name": "s", "model_id": model.id, "state": "stopped"}
        times = {"created_at": 1.0, "updated_at": 1.0}
        row = {**service, **times, "config": "{}", "queue_while_stopped": False, "revision": 1}
        connection.execute(sa.insert(tables.services).values(row))

    with pytest.raises(InUse, match="in use by service"):
        models.delete("default", model.id)
    assert models.get("default", model.id) == model


def test_every_row_that_names_a_blob_counts(models, database):
    uploads = SqlUploads(database)
    models.insert(version())
    models.insert(version("1.0.1", golden="c" * 64))
    uploads.insert("other", new_id(), StoredBlob(key="a" * 64, size_bytes=1))

    assert models.blob_users("a" * 64) == 3
    assert models.blob_users("b" * 64) == 1
    assert models.blob_users("d" * 64) == 0


def test_an_upload_belongs_to_its_tenant(database):
    uploads = SqlUploads(database)
    upload_id, blob = new_id(), StoredBlob(key="a" * 64, size_bytes=5_000_000_000)

    uploads.insert("default", upload_id, blob)

    found = uploads.get("default", upload_id)
    assert (found.key, found.size_bytes, found.expires_at) == (blob.key, blob.size_bytes, None)
    for tenant, name in (("other", upload_id), ("default", new_id())):
        with pytest.raises(UploadNotFound):
            uploads.get(tenant, name)
