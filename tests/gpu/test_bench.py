"""The parts of `bench gpu` that only a GPU shows."""

import shutil

import pytest

from benchmarks import models
from benchmarks.gpu import bare, card

pytestmark = pytest.mark.gpu


@pytest.fixture(autouse=True)
def _needs_driver():
    if shutil.which("nvidia-smi") is None:
        pytest.skip("needs an NVIDIA GPU")


def test_the_card_is_read_from_the_driver():
    found, why = card.find(None)

    reading = found.read()

    assert (found.source, why) == ("nvml", "")
    assert 0 < reading.memory_bytes <= found.facts["memory_bytes"]
    assert 0 <= reading.busy_share <= 1


def test_a_bare_loop_runs_on_the_gpu_and_answers_as_the_cpu_does(tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        pytest.skip("needs onnxruntime-gpu")
    model = models.make("large-cut", tmp_path)

    found = bare.measure(model.path, provider="cuda", seconds=0.05, sizes=(1, 8))

    assert found["got"] == "cuda"
    assert found["off_by_share"] < bare.SHARE
    assert found["libraries"]
