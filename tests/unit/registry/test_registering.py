"""Registering, asking and deleting, with everything outside in memory."""

import pytest

from inference.errors import (
    InvalidField,
    ModelInvalid,
    ModelNotFound,
    ModelPathRefused,
    StoreUnavailable,
    TooLarge,
    UploadNotFound,
    VersionExists,
)
from inference.registry import control, query, uploads
from inference.registry.model import ModelState
from inference.registry.register import register
from tests.unit.registry.registry_fakes import inspect_here, make_ports


@pytest.fixture
def ports():
    return make_ports()


def put(ports, version="1.0.0", content=None, **changes):
    """Registers a fresh upload, and takes the upload away again."""
    upload_id = uploads.receive(ports, tenant_id="t", stream=[content or version.encode()]).id
    body = {"name": "m", "version": version, "framework": "double", "model_path": f"upload:{upload_id}"}
    try:
        return register(ports, tenant_id="t", **{**body, **changes})
    finally:
        del ports.uploads.rows[upload_id]


def test_a_model_is_kept_with_its_artefact_and_its_golden_pair(ports):
    model = put(ports, metadata={"a": 1})

    assert query.get(ports, tenant_id="t", model_id=model.id) == model
    assert set(ports.blobs.contents) == {model.sha256, model.golden}
    assert model.signature.inputs[0].name == "x"
    assert model.metadata == {"a": 1}


def test_steps_and_engine_options_are_read_from_the_configuration(ports):
    config = {"postprocess": [{"do": "argmax", "tensor": "y", "to": "best"}], "engine": {"width": 7}, "note": "kept"}

    model = put(ports, deployment_config=config)

    assert model.hooks == {"postprocess": config["postprocess"]}
    assert model.deployment_config == config
    assert model.signature.inputs[0].shape == (None, 7)
    assert [spec.name for spec in model.signature.outputs] == ["y", "best"]


@pytest.mark.parametrize(
    ("changes", "kind", "field"),
    [
        ({"name": "-"}, InvalidField, "name"),
        ({"version": "one"}, InvalidField, "version"),
        ({"framework": ""}, InvalidField, "framework"),
        ({"framework": "caffe"}, InvalidField, "framework"),
        ({"model_path": 3}, InvalidField, "model_path"),
        ({"model_path": "model.onnx"}, ModelPathRefused, "model_path"),
        ({"model_path": "s3://b/m"}, ModelPathRefused, "model_path"),
        ({"metadata": "x"}, InvalidField, "metadata"),
        ({"deployment_config": {"golden": 1}}, InvalidField, "deployment_config.golden"),
        ({"deployment_config": {"preprocess": 1}}, InvalidField, "deployment_config.preprocess"),
    ],
)
def test_a_wrong_field_is_named_before_anything_is_tried(changes, kind, field):
    def never(path, **_):
        raise AssertionError("the artefact was opened")

    with pytest.raises(kind) as caught:
        put(make_ports(inspect=never), **changes)

    assert caught.value.details["field"] == field


def test_a_repeated_version_is_refused_before_anything_is_copied(ports):
    model = put(ports)

    with pytest.raises(VersionExists):
        put(ports, content=b"other")

    assert list(ports.models.rows) == [model.id]


def test_a_version_that_was_taken_during_the_trial_leaves_no_content():
    ports = make_ports(inspect=lambda path, **asked: (winner(), inspect_here(path, **asked))[1])
    made = []

    def winner():
        if not made:
            made.append(None)
            made[0] = put(ports, content=b"winner")

    with pytest.raises(VersionExists):
        put(ports, content=b"loser")

    assert list(ports.models.rows) == [made[0].id]
    assert b"winner" in ports.blobs.contents.values()


@pytest.mark.parametrize("problem", [ModelInvalid("broken"), InvalidField("does not fit"), StoreUnavailable("away")])
def test_what_fails_leaves_only_what_others_name(problem):
    def fail(path, **_):
        raise problem

    ports = make_ports(inspect=fail)
    upload_id = uploads.receive(ports, tenant_id="t", stream=[b"model"]).id

    with pytest.raises(type(problem)):
        register(ports, tenant_id="t", name="m", version="1.0.0", framework="double", model_path=f"upload:{upload_id}")

    assert ports.models.rows == {}
    assert list(ports.blobs.contents.values()) == [b"model"]


def test_an_artefact_that_vanishes_during_its_trial_is_not_blamed():
    """Somebody deleted a model of equal content at that moment; a path is copied again, an upload cannot be."""
    tried = []

    def vanish(path, **asked):
        tried.append(path.name)
        ports.blobs.contents.pop(path.name)
        raise ModelInvalid("no such file")

    ports = make_ports(inspect=vanish)

    with pytest.raises(ModelInvalid, match="removed again and again"):
        put(ports)
    assert ports.models.rows == {}


@pytest.mark.parametrize("upload_id", ["0" * 32, "nonsense"])
def test_an_unknown_upload_is_not_found(ports, upload_id):
    with pytest.raises(UploadNotFound):
        put(ports, model_path=f"upload:{upload_id}")


def test_uploads_are_counted_and_must_hold_something():
    ports = make_ports(upload_limit_bytes=3)

    with pytest.raises(TooLarge, match="larger than the limit of 3 bytes"):
        uploads.receive(ports, tenant_id="t", stream=[b"12", b"34"])
    with pytest.raises(InvalidField, match="empty"):
        uploads.receive(ports, tenant_id="t", stream=[])
    assert ports.blobs.contents == {}


def test_an_upload_whose_row_cannot_be_written_leaves_no_content(ports):
    def away(*_, **__):
        raise StoreUnavailable("away")

    ports.uploads.insert = away

    with pytest.raises(StoreUnavailable):
        uploads.receive(ports, tenant_id="t", stream=[b"1"])
    assert ports.blobs.contents == {}


def test_deleting_takes_what_nobody_else_names(ports):
    first, second = put(ports, content=b"same"), put(ports, "2.0.0", content=b"same")

    control.delete(ports, tenant_id="t", model_id=first.id)
    assert second.sha256 in ports.blobs.contents
    control.delete(ports, tenant_id="t", model_id=second.id)
    assert ports.blobs.contents == {}


def test_latest_passes_over_deprecated_versions_and_prefers_releases(ports):
    made = {number: put(ports, number) for number in ("1.9.0", "1.10.0", "2.0.0-rc.1")}

    assert query.named(ports, tenant_id="t", name="m").version == "1.10.0"
    control.deprecate(ports, tenant_id="t", model_id=made["1.10.0"].id)
    assert query.named(ports, tenant_id="t", name="m").version == "1.9.0"
    control.deprecate(ports, tenant_id="t", model_id=made["1.9.0"].id)
    assert query.named(ports, tenant_id="t", name="m").version == "2.0.0-rc.1"
    assert query.named(ports, tenant_id="t", name="m", version="1.9.0").state is ModelState.DEPRECATED


@pytest.mark.parametrize(("name", "version"), [("m", "3.0.0"), ("m", "\0"), ("other", "latest"), ("\0", "latest")])
def test_a_name_that_is_not_there_is_not_found(ports, name, version):
    put(ports)

    with pytest.raises(ModelNotFound):
        query.named(ports, tenant_id="t", name=name, version=version)


def test_the_list_knows_its_cursor(ports):
    model = put(ports)

    assert query.find(ports, tenant_id="t", name="m") == [model]
    assert query.find(ports, tenant_id="t", before_id=model.id) == []
    assert query.find(ports, tenant_id="t", name="\0") == []
    with pytest.raises(InvalidField):
        query.find(ports, tenant_id="t", before_id="x")


def test_a_comparison_names_what_changed_and_nothing_else(ports):
    old = put(ports, "1.0.0", metadata={"by": "a", "same": 1})
    new = put(ports, "1.1.0", metadata={"by": "b", "same": 1})

    found = query.diff(ports, tenant_id="t", model_id=old.id, other_id=new.id)

    assert set(found["changes"]) == {"version", "sha256", "metadata.by"}
    assert found["changes"]["metadata.by"] == {"from": "a", "to": "b"}
    assert (found["from"], found["to"], found["is_same_artefact"]) == (old.id, new.id, False)


def test_an_id_of_a_wrong_form_is_not_found(ports):
    for call in (query.get, control.deprecate, control.delete):
        with pytest.raises(ModelNotFound):
            call(ports, tenant_id="t", model_id="\0")
