"""Checks of what runs the models: ONNX Runtime, its providers, and the GPUs."""

import importlib.metadata
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from api.cli.finding import Finding, fail, ok, warn

# In a child: the API imports no engine, and a broken CUDA library takes only the child with it. The model is one
# node, Abs; CUDA counts as there only if a session really runs on it (the GPU build falls back silently).
_PROBE = """
import base64, json
from inference.engines import onnx_runtime
ort = onnx_runtime.loaded()
ort.set_default_logger_severity(4)
model = base64.b64decode("CAgSADoyCgsKAXgSAXkiA0FicxIBZ1oPCgF4EgoKCAgBEgQKAggBYg8KAXkSCgoICAESBAoCCAFCBAoAEA0=")
offered = ort.get_available_providers()
wanted = [name for name in offered if name.startswith("CUDA")] + ["CPUExecutionProvider"]
try:
    real = ort.InferenceSession(model, providers=wanted).get_providers()[0]
    why = ""
except Exception as error:
    real, why = "", str(error)
print(json.dumps({"version": ort.__version__, "offered": offered, "real": real, "why": why}))
"""
_INSTALL_GPU = "pip uninstall -y onnxruntime && pip install 'penstock[gpu]'"


def engine() -> Finding:
    installed = [name for name in ("onnxruntime", "onnxruntime-gpu") if _is_installed(name)]
    if len(installed) != 1:
        return judge_engine(installed, {}, gpu_count=0)
    done = subprocess.run([sys.executable, "-c", _PROBE], capture_output=True, text=True, timeout=120, check=False)
    try:
        told = json.loads(done.stdout.strip().splitlines()[-1])
    except (IndexError, ValueError):
        said = done.stderr.strip().splitlines()
        told = {"why": said[-1] if said else f"it ended with {done.returncode}"}
    return judge_engine(installed, told, gpu_count=len(_nvml_cards()))


def judge_engine(installed: Sequence[str], told: Mapping[str, Any], *, gpu_count: int) -> Finding:
    """`told`: what the probe printed: version, offered, real, why."""
    if not installed:
        return fail(
            "engine", "ONNX Runtime is not installed", "pip install 'penstock[cpu]' (or [gpu] with NVIDIA GPUs)."
        )
    if len(installed) > 1:
        fix = "pip uninstall -y onnxruntime onnxruntime-gpu, then install one: 'penstock[cpu]' or 'penstock[gpu]'."
        return fail("engine", "onnxruntime and onnxruntime-gpu are both installed and overwrite each other", fix)
    if not told.get("real"):
        return fail(
            "engine", f"{installed[0]} does not run: {told.get('why')}", f"pip install --force-reinstall {installed[0]}"
        )
    message = f"{installed[0]} {told['version']} runs on {str(told['real']).removesuffix('ExecutionProvider')}"
    is_on_cuda = str(told["real"]).startswith("CUDA")
    if installed[0] == "onnxruntime-gpu" and not is_on_cuda:
        why = "no GPU is seen" if gpu_count == 0 else "CUDA or cuDNN cannot be loaded"
        fix = (
            "Install 'penstock[cpu]' instead; services that ask for cuda would be refused."
            if gpu_count == 0
            else "pip install 'penstock[gpu]' brings CUDA and cuDNN; `ldd` on onnxruntime's libraries names what lacks."
        )
        return warn("engine", f"{message}: the GPU build, but {why}", fix)
    if gpu_count and not is_on_cuda:
        return warn("engine", f"{message}, though {gpu_count} GPU(s) are here", f"To use them: {_INSTALL_GPU}")
    return ok("engine", message)


def gpus() -> Finding:
    cards = _nvml_cards()
    if not cards:
        return ok("gpu", "no NVIDIA GPU is seen (NVML); models run on the CPU")
    return ok("gpu", "; ".join(cards))


def _nvml_cards() -> list[str]:
    """Name and free memory of each card; empty without a driver."""
    try:
        import pynvml

        pynvml.nvmlInit()
    except Exception:  # no driver, no library, no right: all mean no card
        return []
    try:
        cards = []
        for index in range(pynvml.nvmlDeviceGetCount()):
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
            cards.append(f"{pynvml.nvmlDeviceGetName(handle)}, {memory.free >> 20} of {memory.total >> 20} MB free")
        return cards
    finally:
        pynvml.nvmlShutdown()


def _is_installed(name: str) -> bool:
    try:
        importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
