"""The throw-away process in which a stranger's model is opened for the first time.

Reads one JSON request from standard input, limits itself, and leaves `answer.json` and `golden.bin` in its folder.
"""

import json
import math
import os
import resource
import sys
from pathlib import Path
from typing import Any

from inference.lifeline import die_with_parent

GOLDEN_LIMIT_BYTES = 1 << 30


def main() -> int:
    """0 when an answer was written, whatever it says; anything else is a crash."""
    request = json.loads(sys.stdin.read())
    _limit(int(request["memory_bytes"]), float(request["timeout_s"]))
    _write(Path(request["folder"]), _answer(request))
    return 0


def _limit(memory_bytes: int, timeout_s: float) -> None:
    """Before anything large is imported. The clock on the wall is the parent's business."""
    die_with_parent()
    wanted = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: GOLDEN_LIMIT_BYTES,
        resource.RLIMIT_CPU: math.ceil(timeout_s) * 2 + 5,
        resource.RLIMIT_AS: memory_bytes,
    }
    for kind, value in wanted.items():
        hard = resource.getrlimit(kind)[1]
        capped = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (capped, capped))


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    from inference.errors import OutOfMemory, PenstockError

    try:
        return _try(request)
    except (MemoryError, OutOfMemory):
        return {"refusal": "out_of_memory"}
    except PenstockError as error:
        return {"refusal": error.code, "message": error.message, "details": error.details}
    except Exception as error:
        return {"refusal": "crashed", "message": f"{type(error).__name__}: {error}"[:400]}


def _try(request: dict[str, Any]) -> dict[str, Any]:
    import msgspec

    from inference.engines import catalog, hooks
    from inference.engines.base import LoadSpec
    from inference.registry import trial

    load = catalog.find(request["framework"], request["plugins"])
    spec = LoadSpec(
        path=Path(request["path"]),
        provider="cpu",
        threads=int(request["threads"]),
        options=request["options"],
        statistics=Path(request["folder"]) / "statistics.csv",
    )
    found = trial.run(load(spec), hooks.compile(request["hooks"]), request["golden"])
    (Path(request["folder"]) / "golden.bin").write_bytes(found.golden)
    signature: object = msgspec.to_builtins(found.signature)
    return {"signature": signature, "estimate": found.estimate}


def _write(folder: Path, answer: dict[str, Any]) -> None:
    """Renamed into place, so that a crash in between leaves no half answer."""
    half = folder / "answer.half"
    half.write_text(json.dumps(answer, default=str))
    half.rename(folder / "answer.json")


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    os._exit(status)  # native threads of an engine may crash on the way out, after the answer
