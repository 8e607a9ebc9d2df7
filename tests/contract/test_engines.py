"""Every engine that is found keeps the promises of `engines/base.py`."""

import numpy as np
import pytest
from onnx import TensorProto, helper

from inference.engines import catalog
from inference.engines.base import LoadSpec
from inference.engines.onnx_file import external_files
from inference.errors import EngineFailed, EngineLoadFailed
from inference.tensors import TensorSpec
from tests import onnx_models

pytest.importorskip("onnxruntime")

PLUGINS = "double=tests.engines_for_tests:Double"


@pytest.fixture(params=["onnx", "double"])
def load(request, tmp_path):
    """A loader of a model that doubles `x`, float32 [null, 4]."""
    path = onnx_models.linear(tmp_path / "model")
    factory = catalog.find(request.param, PLUGINS)
    return lambda **changes: factory(LoadSpec(path=path, **changes))


@pytest.mark.parametrize("rows", [1, 2, 7])
def test_it_answers_for_any_number_of_rows(load, rows):
    x = np.arange(rows * 4, dtype=np.float32).reshape(rows, 4)

    got = load().run({"x": x})

    assert list(got) == ["y"]
    assert np.array_equal(got["y"], x * 2)


def test_it_tells_its_signature_and_what_really_runs(load):
    engine = load()

    assert engine.inputs == (TensorSpec(name="x", dtype="float32", shape=(None, 4)),)
    assert engine.outputs == (TensorSpec(name="y", dtype="float32", shape=(None, 4)),)
    assert engine.provider == "cpu"


def test_it_may_be_closed_twice(load):
    engine = load()

    engine.close()
    engine.close()


def onnx(path, **changes):
    return catalog.find("onnx")(LoadSpec(path=path, **changes))


def test_a_fixed_batch_axis_is_hidden_from_the_caller(tmp_path):
    engine = onnx(onnx_models.linear(tmp_path / "model", rows=4))
    x = np.random.default_rng(0).random((6, 4), np.float32)

    assert np.array_equal(engine.run({"x": x})["y"], x * 2)
    assert engine.inputs[0].shape == (4, 4)
    assert engine.fixed_rows == 4


@pytest.mark.parametrize("level", ["none", "basic", "extended", "all"])
def test_each_optimisation_level_gives_the_same_answer(tmp_path, level):
    engine = onnx(onnx_models.linear(tmp_path / "model"), options={"optimisation": level})

    assert engine.run({"x": np.ones((1, 4), np.float32)})["y"].tolist() == [[2, 2, 2, 2]]


def test_cuda_that_is_not_there_is_said_and_never_replaced_by_the_cpu(tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this ONNX Runtime has CUDA; tests/gpu asks it")

    with pytest.raises(EngineLoadFailed, match="has no CUDA in it; install the extra 'gpu'"):
        onnx(onnx_models.linear(tmp_path / "model"), provider="cuda", device="GPU-0")


def test_auto_takes_what_there_is_and_says_what_it_took(tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this ONNX Runtime has CUDA; tests/gpu asks it")

    assert onnx(onnx_models.linear(tmp_path / "model"), provider="auto", device="GPU-0").provider == "cpu"


def test_a_session_that_fell_back_to_the_cpu_does_not_pass_for_cuda(tmp_path, monkeypatch):
    """What the GPU build does on a machine without CUDA: it lists CUDA, and gives a CPU session."""
    onnxruntime = pytest.importorskip("onnxruntime")
    monkeypatch.setattr(
        onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"]
    )
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: None)

    with (
        pytest.warns(UserWarning, match="CUDAExecutionProvider"),
        pytest.raises(EngineLoadFailed, match="fell back to the CPU"),
    ):
        onnx(onnx_models.linear(tmp_path / "model"), provider="cuda", device="GPU-0")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"provider": "tpu"}, "Provider 'tpu' is unknown to onnx; known: auto, cpu, cuda"),
        ({"options": {"speed": 1}}, "option 'speed' is unknown to onnx; known: gpu_memory_bytes, io_binding"),
        ({"options": {"optimisation": "max"}}, "must be one of none, basic, extended, all"),
        ({"options": {"optimisation": ["all"]}}, "must be one of"),
        ({"options": {"gpu_memory_bytes": 0}}, "whole number above 0"),
    ],
)
def test_what_cannot_be_asked_of_it_is_refused(tmp_path, changes, sentence):
    with pytest.raises(EngineLoadFailed, match=sentence):
        onnx(onnx_models.linear(tmp_path / "model"), **changes)


@pytest.mark.parametrize("content", [b"", b"hello, I am no model", b"\x08\x08", b"\x00" * 100])
def test_a_file_that_is_no_model_is_refused_without_naming_our_folders(tmp_path, content):
    path = tmp_path / ("0" * 64)
    path.write_bytes(content)

    with pytest.raises(EngineLoadFailed) as caught:
        onnx(path)
    assert str(tmp_path) not in caught.value.message
    assert "ONNXRuntimeError" not in caught.value.message


def test_half_a_model_is_refused(tmp_path):
    path = onnx_models.linear(tmp_path / "model")
    path.write_bytes(path.read_bytes()[:-20])

    with pytest.raises(EngineLoadFailed):
        onnx(path)


@pytest.mark.parametrize("location", ["weights.bin", "../weights.bin", "/etc/hostname", "*/_ORT_MEM_ADDR_/*"])
def test_weights_in_another_file_are_refused(tmp_path, location):
    path = onnx_models.with_external_data(tmp_path / "model", location)

    assert external_files(path) == [location]
    with pytest.raises(EngineLoadFailed, match="keeps weights in another file"):
        onnx(path)


@pytest.mark.parametrize(
    ("dims", "kind", "sentence"),
    [
        ([], TensorProto.FLOAT, "input 'x' has no axes; the first axis must be the batch"),
        (["N"], TensorProto.STRING, r"input 'x' is of type tensor\(string\), which is not carried"),
    ],
)
def test_inputs_that_cannot_be_carried_are_refused(tmp_path, dims, kind, sentence):
    path = onnx_models.save(
        tmp_path / "model",
        [helper.make_node("Identity", ["x"], ["y"])],
        [onnx_models.value("x", dims, kind)],
        [onnx_models.value("y", dims, kind)],
    )

    with pytest.raises(EngineLoadFailed, match=sentence):
        onnx(path)


@pytest.mark.parametrize(
    "inputs",
    [{"x": np.ones((1, 5), np.float32)}, {"x": np.ones((1, 4), np.float64)}, {"z": np.ones((1, 4), np.float32)}],
)
def test_an_input_that_the_engine_refuses_fails_in_one_sentence(tmp_path, inputs):
    engine = onnx(onnx_models.linear(tmp_path / "model"))

    with pytest.raises(EngineFailed) as caught:
        engine.run(inputs)
    assert "\n" not in caught.value.message
    assert not caught.value.retryable
