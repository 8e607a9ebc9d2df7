"""Looks at a new artefact in a limited child process, and tells what it found or what is wrong with it."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from inference.errors import InvalidField, ModelInvalid, Unavailable
from inference.registry.model import Signature
from inference.registry.trial import Trial
from inference.settings import EnginesSettings, RegistrySettings

PASSED_ON = ("HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PATH", "TMPDIR", "TZ", "VIRTUAL_ENV")
"""What the child sees of the environment: no setting, so no password either."""

_turns = threading.BoundedSemaphore(2)
"""Trials at once per process: each may take gigabytes, and they are rare."""


def inspect(
    path: Path,
    *,
    framework: str,
    hooks: Mapping[str, Any],
    golden: Mapping[str, Any],
    options: Mapping[str, Any],
    settings: RegistrySettings,
    engines: EnginesSettings,
) -> Trial:
    """The signature and golden pair of an artefact. Blocks for up to `settings.validate_timeout_s`,
    after those that came before it.

    Raises ModelInvalid with one sentence for an artefact that does not load, hangs, crashes or asks for too much
    memory; InvalidField where the hooks or the golden input do not fit it.
    """
    with tempfile.TemporaryDirectory(prefix="penstock-inspect-") as folder:
        request = {
            "path": str(path.absolute()),
            "framework": framework,
            "hooks": hooks,
            "golden": golden,
            "options": options,
            "plugins": engines.plugins,
            "threads": engines.threads,
            "memory_bytes": settings.validate_memory_bytes,
            "timeout_s": settings.validate_timeout_s,
            "folder": folder,
        }
        with _turns:
            complaint, status = _run(json.dumps(request), Path(folder), settings.validate_timeout_s)
        return _read(Path(folder), complaint, status, settings)


def _run(request: str, folder: Path, timeout_s: float) -> tuple[str, int]:
    """What the child wrote to standard error (its end), and how it ended."""
    environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    environment |= {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "CUDA_VISIBLE_DEVICES": ""}
    environment |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    complaints = folder / "stderr"
    try:
        with complaints.open("wb") as errors:
            child = subprocess.Popen(
                [sys.executable, "-P", "-m", "inference.registry.inspect_child"],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                cwd=folder,
                env=environment,
                start_new_session=True,
            )
    except OSError as error:
        raise Unavailable(
            f"The process that validates models cannot be started: {error.strerror}.", part="registry", retry_after_s=5
        ) from error
    with child:
        try:
            child.communicate(request.encode(), timeout=timeout_s)
        except subprocess.TimeoutExpired as error:
            raise ModelInvalid(
                f"The model did not load and answer within {timeout_s:g} s; it may contain an endless loop.",
                limit_s=timeout_s,
            ) from error
        finally:
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
    return complaints.read_bytes()[-4000:].decode("utf-8", "replace"), child.returncode


def _read(folder: Path, complaint: str, status: int, settings: RegistrySettings) -> Trial:
    answer_file = folder / "answer.json"
    if not answer_file.exists():
        raise _crashed(complaint, status, settings)
    answer = json.loads(answer_file.read_text())
    refusal = answer.get("refusal")
    if refusal is None:
        signature = msgspec.convert(answer["signature"], Signature)
        golden = (folder / "golden.bin").read_bytes()
        return Trial(signature=signature, golden=golden, estimate=answer["estimate"])
    if refusal == "out_of_memory":
        raise _too_hungry(settings)
    if refusal == InvalidField.code:
        raise InvalidField(answer["message"], **answer["details"])
    if refusal == "crashed":
        raise ModelInvalid(f"The model made the engine fail: {answer['message']}")
    raise ModelInvalid(answer["message"], **answer["details"])


def _crashed(complaint: str, status: int, settings: RegistrySettings) -> ModelInvalid:
    if "bad_alloc" in complaint or "MemoryError" in complaint:
        return _too_hungry(settings)
    if status in (-signal.SIGXCPU, -signal.SIGKILL):
        return ModelInvalid(
            "The model's trial run was killed: it used too much processor time, or the machine ran out of memory."
        )
    if status < 0:
        return ModelInvalid(f"The model crashed the engine ({signal.Signals(-status).name}) in its trial run.")
    return ModelInvalid(f"The model ended the engine's process (exit code {status}) in its trial run.")


def _too_hungry(settings: RegistrySettings) -> ModelInvalid:
    limit = settings.validate_memory_bytes
    return ModelInvalid(
        f"The model asks for more memory than its trial run may have ({limit / (1 << 30):.3g} GiB).", limit_bytes=limit
    )
