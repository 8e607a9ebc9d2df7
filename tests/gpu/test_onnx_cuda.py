"""ONNX Runtime on a real GPU."""

import shutil

import numpy as np
import pytest

from inference.engines import catalog, hooks, profile, selfcheck
from inference.engines.base import LoadSpec
from inference.registry import trial
from tests import onnx_models

pytestmark = pytest.mark.gpu


@pytest.fixture(autouse=True)
def _needs_cuda():
    onnxruntime = pytest.importorskip("onnxruntime")
    if shutil.which("nvidia-smi") is None or "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        pytest.skip("needs an NVIDIA GPU and onnxruntime-gpu")


def load(path, provider, device="GPU-0"):
    return catalog.find("onnx")(LoadSpec(path=path, provider=provider, device=device))


@pytest.mark.parametrize("provider", ["cuda", "auto"])
def test_a_model_runs_on_the_gpu_and_says_so(tmp_path, provider):
    engine = load(onnx_models.linear(tmp_path / "model"), provider)
    x = np.random.default_rng(0).random((3, 4), np.float32)

    assert engine.provider == "cuda"
    assert np.allclose(engine.run({"x": x})["y"], x * 2, rtol=1e-2)


def test_what_was_sealed_on_the_cpu_passes_its_self_check_on_the_gpu(tmp_path):
    path = onnx_models.linear(tmp_path / "model", width=64)
    golden = trial.run(load(path, "cpu", "cpu"), hooks.compile(None), {}).golden

    fed = selfcheck.check(load(path, "cuda"), hooks.compile(None), golden)

    assert fed["x"].shape == (2, 64)


def test_the_gpu_has_a_batch_curve(tmp_path):
    engine = load(onnx_models.linear(tmp_path / "model"), "cuda")

    curve = profile.measure(engine, {"x": np.ones((1, 4), np.float32)})

    assert [rows for rows, *_ in curve] == [1, 2, 4, 8, 16, 32, 64]


def test_bound_outputs_are_those_of_a_plain_call(tmp_path):
    path = onnx_models.linear(tmp_path / "model", width=64)
    bound, plain = (
        load(path, "cuda"),
        catalog.find("onnx")(LoadSpec(path=path, provider="cuda", device="GPU-0", options={"io_binding": False})),
    )
    batches = [np.random.default_rng(rows).random((rows, 64), np.float32) for rows in (1, 8, 64, 3)]

    answers = [(bound.run({"x": x})["y"], plain.run({"x": x})["y"]) for x in batches]

    assert all(np.allclose(one, other, rtol=1e-3) for one, other in answers)
    assert bound._binding is not None
    assert plain._binding is None
