"""Cut and damaged copies of a good model through the validator: what comes of each, and whether anything got out.

`try_all(count, seed)` first asks the checks that the API makes in its own process, then loads and runs each copy as
`inference.registry.inspect_child` does, in a process of its own that is forked from one which has the same limits and
has imported the runtime already: thirty milliseconds instead of a second.
"""

import json
import os
import random
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from inference.errors import PenstockError
from inference.registry import code, inspect_child

GOOD = Path(__file__).parents[2] / "examples" / "digits" / "model.onnx"
MEMORY_BYTES = 4 << 30
LIMIT_S = 10.0
PARTS = 2
CRASHED, TOO_LATE = "crashed", "too_late"


def damaged(count: int, seed: int) -> Iterator[bytes]:
    """Copies that are cut, have bytes changed, a piece repeated, removed or overwritten. Follows from the seed."""
    good, dice = GOOD.read_bytes(), random.Random(seed)
    for number in range(count):
        content = bytearray(good)
        at = dice.randrange(len(good) if number % 2 else min(len(good), 600))  # the structure is mostly in front
        size = dice.randint(1, 64)
        match number % 5:
            case 0:
                del content[at:]
            case 1:
                for _ in range(dice.randint(1, 8)):
                    content[dice.randrange(at + 1)] ^= 1 << dice.randrange(8)
            case 2:
                del content[at : at + size]
            case 3:
                content[at:at] = content[at : at + size]
            case _:
                content[at : at + size] = dice.randbytes(size)
        yield bytes(content)


def try_all(count: int, seed: int) -> Counter[str]:
    """How many were `good`, or refused with which code, and of those how many by `crashed` or `too_late` processes.

    Raises AssertionError for a check that fails in the API's process or for a file outside of the folder.
    """
    with tempfile.TemporaryDirectory(prefix="penstock-broken-") as name:
        folder = Path(name)
        for number, content in enumerate(damaged(count, seed)):
            path = folder / f"{number}.onnx"
            path.write_bytes(content)
            with suppress(PenstockError):
                code.reason(path, framework="onnx", plugins="")
        answers = [folder / f"{part}.jsonl" for part in range(PARTS)]
        for pid in [_begin(folder, range(part, count, PARTS), answers[part]) for part in range(PARTS)]:
            _, status = os.waitpid(pid, 0)
            assert status == 0, f"the process that tries models ended with {status}"
        assert {path.suffix for path in folder.iterdir()} <= {".onnx", ".jsonl", ".d"}
        return Counter(json.loads(line) for path in answers for line in path.read_text().splitlines())


def _begin(folder: Path, numbers: range, answers: Path) -> int:
    if not (pid := os.fork()):
        _in_child(folder, numbers, answers)
    return pid


def _in_child(folder: Path, numbers: range, answers: Path) -> None:
    """Never returns."""
    try:
        inspect_child._limit(MEMORY_BYTES, 100_000)
        import onnxruntime  # noqa: F401 - so that the forks need not

        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 2)
        with answers.open("w") as file:
            for number in numbers:
                file.write(json.dumps(_one(folder, number)) + "\n")
    except BaseException:
        os._exit(1)
    os._exit(0)


def _one(folder: Path, number: int) -> str:
    own = folder / f"{number}.d"
    own.mkdir()
    pid = os.fork()
    if not pid:
        request: dict[str, Any] = {
            "path": str(folder / f"{number}.onnx"), "framework": "onnx", "plugins": "", "threads": 1,
            "options": {}, "hooks": {}, "golden": {}, "folder": str(own),
        }  # fmt: skip
        with suppress(BaseException):
            inspect_child._write(own, inspect_child._answer(request))
        os._exit(0)
    end = time.monotonic() + LIMIT_S
    while time.monotonic() < end:
        done, _ = os.waitpid(pid, os.WNOHANG)
        if done:
            answer = own / "answer.json"
            return json.loads(answer.read_text()).get("refusal", "good") if answer.exists() else CRASHED
        time.sleep(0.002)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return TOO_LATE
