"""Registering real files, each tried out in a real limited process."""

import dataclasses
import json
import os
import threading
from pathlib import Path

import numpy as np
import pytest

from inference.blobs.files import FileBlobs
from inference.engines import catalog, hooks, selfcheck
from inference.engines.base import LoadSpec
from inference.errors import (
    EngineLoadFailed,
    InvalidField,
    ModelInvalid,
    ModelNotFound,
    ModelPathRefused,
    TooLarge,
    UploadNotFound,
    VersionExists,
)
from inference.registry import control, query, uploads
from inference.registry.model import ModelState
from inference.registry.ports import RegistryPorts
from inference.registry.register import register
from inference.settings import EnginesSettings, RegistrySettings, StoreSettings
from inference.store import tables
from inference.store.database import Database
from inference.store.models import SqlModels
from inference.store.uploads import SqlUploads
from tests import onnx_models

pytest.importorskip("onnxruntime")

DIGITS = Path(__file__).parents[3] / "examples" / "digits"
PLUGINS = ",".join(
    f"{name.lower()}=tests.engines_for_tests:{name}"
    for name in ("Double", "Slow", "CrashOnLoad", "CrashOnValue", "HangOnValue", "RaiseOnValue")
)


@pytest.fixture
def ports(tmp_path):
    database = Database(f"sqlite:///{tmp_path}/penstock.db", StoreSettings())
    tables.metadata.create_all(database.engine)
    yield RegistryPorts(
        models=SqlModels(database),
        uploads=SqlUploads(database),
        blobs=FileBlobs(tmp_path / "blobs"),
        settings=RegistrySettings(validate_timeout_s=20),
        engines=EnginesSettings(plugins=PLUGINS),
    )
    database.close()


@pytest.fixture
def model_file(tmp_path):
    return onnx_models.linear(tmp_path / "model.onnx")


def put(ports, path, **changes):
    body = {"name": "m", "version": "1.0.0", "framework": "onnx", "model_path": str(path)}
    return register(ports, tenant_id="default", **{**body, **changes})


def limited(ports, **changes):
    return dataclasses.replace(ports, settings=dataclasses.replace(ports.settings, **changes))


def stored(ports):
    return sorted(path.name for path in ports.blobs._folder.rglob("*") if path.is_file())


def assert_nothing_kept(ports):
    assert stored(ports) == []
    assert query.find(ports, tenant_id="default") == []


def test_a_model_is_kept_with_an_estimate_of_its_memory(ports, tmp_path):
    estimate = put(ports, onnx_models.linear(tmp_path / "wide.onnx", width=256)).estimate

    assert ports.models.find("default", "m", "1.0.0").estimate == estimate
    assert (estimate["weight_bytes"], estimate["rows_seen"]) == (256 * 256 * 4, 3)
    # A row is 1 KiB on its way in and 1 KiB on its way out, and neighbours may hold as much again.
    assert estimate["row_bytes"] == pytest.approx(4 * 1024, rel=0.5)


def test_the_digits_example_registers_and_is_right_on_images_it_has_not_seen(ports):
    body = json.loads((DIGITS / "model.json").read_text())
    images = np.load(DIGITS / "test_images.npz")

    model = register(ports, tenant_id="default", **{**body, "model_path": str(DIGITS / "model.onnx")})
    engine = catalog.find(model.framework)(LoadSpec(path=ports.blobs.path(model.sha256)))
    steps = hooks.compile(model.hooks)
    selfcheck.check(engine, steps, ports.blobs.path(model.golden).read_bytes())
    got = steps.after(engine.run(steps.before({"image": images["images"]})))

    assert [(spec.name, spec.dtype, spec.shape) for spec in model.signature.inputs] == [
        ("image", "uint8", (None, 8, 8))
    ]
    assert model.signature.engine_inputs[0].name == "input"
    assert model.signature.joins
    accuracy = (got["label"] == images["labels"]).mean()
    assert round(accuracy, 4) == body["accuracy_metrics"]["accuracy"]
    assert len(images["labels"]) == 450


def test_what_was_registered_is_found_again_and_shows_what_was_written(ports, model_file):
    model = put(ports, model_file, metadata={"by": "a test"}, deployment_config={"replicas": 2})

    assert query.get(ports, tenant_id="default", model_id=model.id) == model
    assert model.state is ModelState.REGISTERED
    assert model.metadata == {"by": "a test"}
    assert model.deployment_config == {"replicas": 2}
    assert ports.blobs.path(model.sha256).read_bytes() == model_file.read_bytes()


def test_the_artefact_is_a_copy(ports, model_file):
    model = put(ports, model_file)
    content = model_file.read_bytes()

    model_file.write_bytes(b"something else")

    assert ports.blobs.path(model.sha256).read_bytes() == content


def test_a_file_url_and_an_upload_are_taken_too(ports, model_file):
    first = put(ports, f"file://{model_file}")
    with model_file.open("rb") as stream:
        upload_id = uploads.receive(ports, tenant_id="default", stream=stream).id
    second = put(ports, f"upload:{upload_id}", version="1.0.1")

    assert first.sha256 == second.sha256


def test_a_repeated_version_is_refused_and_harms_nothing(ports, model_file, tmp_path):
    model = put(ports, model_file)

    with pytest.raises(VersionExists):
        put(ports, model_file)
    with pytest.raises(VersionExists):
        put(ports, onnx_models.linear(tmp_path / "other.onnx", factor=3))

    assert stored(ports) == sorted([model.sha256, model.golden])


def test_of_several_that_register_the_same_version_at_once_one_wins(ports, tmp_path):
    outcomes = []

    def race(number):
        try:
            outcomes.append(put(ports, onnx_models.linear(tmp_path / f"{number}.onnx", factor=number)))
        except VersionExists as error:
            outcomes.append(error)

    threads = [threading.Thread(target=race, args=(number,)) for number in (2, 3, 4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    (model,) = [outcome for outcome in outcomes if not isinstance(outcome, VersionExists)]
    assert len(outcomes) == 3
    assert stored(ports) == sorted([model.sha256, model.golden])


def test_a_bounded_loop_is_a_valid_model(ports, tmp_path):
    model = put(ports, onnx_models.loop(tmp_path / "loop.onnx", trips=5))

    assert model.signature.joins


def test_an_endless_loop_is_ended_and_refused(ports, tmp_path):
    with pytest.raises(ModelInvalid, match=r"did not load and answer within 3 s; it may contain an endless loop"):
        put(limited(ports, validate_timeout_s=3), onnx_models.loop(tmp_path / "loop.onnx", trips=1 << 62))

    assert_nothing_kept(ports)


def test_a_model_that_asks_for_32_gib_is_refused(ports, tmp_path):
    with pytest.raises(ModelInvalid, match=r"asks for more memory than its trial run may have \(8 GiB\)"):
        put(ports, onnx_models.huge(tmp_path / "huge.onnx"))

    assert_nothing_kept(ports)


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ("signal", r"crashed the engine \(SIGSEGV\)"),
        ("exit", r"ended the engine's process \(exit code 9\)"),
        ("raise", "The test engine was asked not to load"),
    ],
)
def test_a_crash_in_the_trial_run_is_a_refusal(ports, model_file, tmp_path, how, sentence):
    trigger = tmp_path / "trigger"
    trigger.touch()
    options = {"engine": {"when_exists": str(trigger), "how": how}}

    with pytest.raises(ModelInvalid, match=sentence):
        put(ports, model_file, framework="crashonload", deployment_config=options)

    assert_nothing_kept(ports)


@pytest.mark.parametrize("framework", ["double", "crashonload", "crashonvalue", "hangonvalue", "raiseonvalue"])
def test_engines_that_misbehave_later_pass_their_trial(ports, model_file, framework):
    assert put(ports, model_file, framework=framework).signature.inputs[0].shape == (None, 4)


def test_a_foreign_exception_of_an_engine_is_a_refusal(ports, model_file):
    with pytest.raises(ModelInvalid, match="RuntimeError: the test engine was asked to fail"):
        put(ports, model_file, framework="raiseonvalue", deployment_config={"golden": {"x": [555, 0, 0, 0]}})


def test_the_trial_sees_no_setting_and_no_password(ports, model_file, monkeypatch):
    """The engine crashes only where it sees PENSTOCK_ROLE."""
    monkeypatch.setenv("PENSTOCK_ROLE", "api")

    put(ports, model_file, framework="crashonload")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [(b"hello", "not an ONNX model"), (b"\x08\x08\x3a\x00", "The model cannot be loaded"), (b"", "is empty")],
)
def test_a_file_that_is_no_model_is_refused(ports, tmp_path, content, sentence):
    path = tmp_path / "model.onnx"
    path.write_bytes(content)

    with pytest.raises((ModelInvalid, ModelPathRefused), match=sentence) as caught:
        put(ports, path)

    assert str(ports.blobs._folder) not in caught.value.message
    assert_nothing_kept(ports)


def test_weights_in_another_file_are_refused(ports, tmp_path):
    with pytest.raises(ModelInvalid, match="keeps weights in another file"):
        put(ports, onnx_models.with_external_data(tmp_path / "model.onnx", "w.bin"))


def test_a_model_whose_output_does_not_follow_its_rows_is_served_alone(ports, tmp_path):
    path = onnx_models.one_node(tmp_path / "sum.onnx", "ReduceSum", ["N", 4], [1, 1], keepdims=1)

    assert not put(ports, path).signature.joins


def test_a_fixed_batch_length_is_open_for_clients(ports, tmp_path):
    model = put(ports, onnx_models.linear(tmp_path / "fixed.onnx", rows=4))

    assert model.signature.inputs[0].shape == (None, 4)
    assert model.signature.engine_inputs[0].shape == (4, 4)
    assert model.signature.joins


def test_steps_that_do_not_fit_the_model_are_the_clients_fault(ports, model_file):
    config = {"preprocess": [{"do": "cast", "tensor": "x", "dtype": "int8"}]}

    with pytest.raises(InvalidField, match="gives 'x' as int8") as caught:
        put(ports, model_file, deployment_config=config)

    assert caught.value.details == {"field": "deployment_config.preprocess"}
    assert_nothing_kept(ports)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"name": "a b"}, "name"),
        ({"version": "1"}, "version"),
        ({"framework": "caffe"}, "framework"),
        ({"framework": 3}, "framework"),
        ({"metadata": []}, "metadata"),
        ({"accuracy_metrics": "good"}, "accuracy_metrics"),
        ({"deployment_config": {"preproces": []}}, "deployment_config.preproces"),
        ({"deployment_config": {"postprocess": [{"do": "exec"}]}}, "deployment_config.postprocess"),
        ({"deployment_config": {"golden": {"z": 1}}}, "deployment_config.golden.z"),
    ],
)
def test_each_wrong_field_is_named(ports, model_file, changes, field):
    with pytest.raises(InvalidField) as caught:
        put(ports, model_file, **changes)

    assert caught.value.details["field"] == field
    assert_nothing_kept(ports)


def test_engine_options_that_are_unknown_are_refused(ports, model_file):
    with pytest.raises(ModelInvalid, match="option 'speed' is unknown to onnx"):
        put(ports, model_file, deployment_config={"engine": {"speed": 1}})


def test_paths_that_lead_nowhere_are_refused(ports, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path, sentence in (
        (tmp_path / "missing", "No such file"),
        (tmp_path, "is a folder"),
        (tmp_path / "pipe", "is not a regular file"),
        ("/dev/zero", "is not a regular file"),
    ):
        with pytest.raises(ModelPathRefused, match=sentence):
            put(ports, path)


def test_only_folders_under_the_roots_are_read(ports, model_file, tmp_path):
    (tmp_path / "allowed").mkdir()
    (tmp_path / "allowed" / "good.onnx").write_bytes(model_file.read_bytes())
    (tmp_path / "allowed" / "link.onnx").symlink_to(model_file)
    (tmp_path / "allowed-too").mkdir()
    (tmp_path / "allowed-too" / "a.onnx").write_bytes(model_file.read_bytes())
    narrow = limited(ports, model_roots=str(tmp_path / "allowed"))

    for path in ("link.onnx", "../model.onnx", "../allowed-too/a.onnx"):
        with pytest.raises(ModelPathRefused, match="outside the folders"):
            put(narrow, tmp_path / "allowed" / path)
    put(narrow, tmp_path / "allowed" / "good.onnx")


def test_a_model_over_the_limit_is_refused(ports, model_file):
    with pytest.raises(TooLarge, match="larger than the limit of 100 bytes"):
        put(limited(ports, upload_limit_bytes=100), model_file)

    assert_nothing_kept(ports)


@pytest.mark.parametrize("upload", ["0" * 32, "", "\ud800", "../x"])
def test_an_upload_that_is_not_there_is_not_found(ports, upload):
    with pytest.raises(UploadNotFound):
        put(ports, f"upload:{upload}")


def test_an_empty_or_oversized_upload_leaves_nothing(ports):
    with pytest.raises(InvalidField, match="empty"):
        uploads.receive(ports, tenant_id="default", stream=[])
    with pytest.raises(TooLarge):
        uploads.receive(limited(ports, upload_limit_bytes=3), tenant_id="default", stream=[b"1234"])

    assert_nothing_kept(ports)


def test_a_deleted_models_content_goes_when_nobody_else_needs_it(ports, model_file):
    first, second = put(ports, model_file), put(ports, model_file, version="2.0.0")

    control.delete(ports, tenant_id="default", model_id=first.id)
    assert second.sha256 in stored(ports)
    control.delete(ports, tenant_id="default", model_id=second.id)

    assert_nothing_kept(ports)


def test_an_upload_keeps_its_content_when_the_model_goes(ports, model_file):
    with model_file.open("rb") as stream:
        upload_id = uploads.receive(ports, tenant_id="default", stream=stream).id
    model = put(ports, f"upload:{upload_id}")

    control.delete(ports, tenant_id="default", model_id=model.id)

    assert put(ports, f"upload:{upload_id}").sha256 == model.sha256


def test_latest_is_the_highest_release_that_is_not_deprecated(ports, model_file):
    made = {number: put(ports, model_file, version=number) for number in ("1.9.0", "1.10.0", "2.0.0-rc.1", "1.2.0")}

    assert query.named(ports, tenant_id="default", name="m").version == "1.10.0"
    control.deprecate(ports, tenant_id="default", model_id=made["1.10.0"].id)
    assert query.named(ports, tenant_id="default", name="m").version == "1.9.0"
    assert query.named(ports, tenant_id="default", name="m", version="1.10.0").state is ModelState.DEPRECATED


def test_two_versions_are_compared_field_by_field(ports, model_file, tmp_path):
    old = put(ports, model_file, metadata={"by": "a", "notes": {"x": 1}})
    new = put(ports, onnx_models.linear(tmp_path / "b.onnx", factor=5), version="1.1.0", metadata={"by": "b"})

    found = query.diff(ports, tenant_id="default", model_id=old.id, other_id=new.id)

    assert not found["is_same_artefact"]
    assert found["changes"]["metadata.by"] == {"from": "a", "to": "b"}
    assert found["changes"]["metadata.notes.x"] == {"from": 1, "to": None}
    assert found["changes"]["version"] == {"from": "1.0.0", "to": "1.1.0"}
    assert "framework" not in found["changes"]


@pytest.mark.parametrize("model_id", ["", "0" * 32, "x", "\0"])
def test_a_model_that_is_not_there_is_not_found(ports, model_id):
    for call in (query.get, control.deprecate, control.delete):
        with pytest.raises(ModelNotFound):
            call(ports, tenant_id="default", model_id=model_id)


def test_a_damaged_artefact_fails_its_self_check(ports, model_file, tmp_path):
    model = put(ports, model_file)
    engine = catalog.find("onnx")(LoadSpec(path=onnx_models.linear(tmp_path / "b.onnx", factor=2.1)))

    with pytest.raises(EngineLoadFailed, match="The self-check failed: output 'y' is off by"):
        selfcheck.check(engine, hooks.compile(model.hooks), ports.blobs.path(model.golden).read_bytes())
