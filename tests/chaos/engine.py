"""The engine of the chaos suite: says what it runs before it runs it, and misbehaves where a job's input asks for it.

A job is one row of `x`, float32 [null, 4]: its value (a whole number that no other job has), its kind, anything, and
MARK; rows without MARK are somebody's trial. `y` is 2 x + 1, so that each client knows its answer beforehand.
Options: `effects` (the effect log that the checker reads), `marks` (a folder), `call_ms`, `row_ms`.
"""

import ctypes
import json
import os
import time
from enum import IntEnum
from pathlib import Path

import numpy as np

from inference.engines.base import LoadSpec
from inference.errors import OutOfMemory
from inference.tensors import Array, Tensors, TensorSpec

MARK = 4711.0


class Kind(IntEnum):
    """What a job does to the engine that runs it.

    RETRYABLE fails once, when it has come to be alone. TOO_BIG fails in company only. POISON ends the process.
    """

    GOOD = 0
    POISON = 1
    RETRYABLE = 2
    HANG = 3
    TOO_BIG = 4
    NAN = 5
    WRONG = 6


ENDS = {Kind.POISON: ["dead"], Kind.HANG: ["dead"], Kind.WRONG: ["failed"]}
"""Where a kind ends, if not `completed`."""


class Chaos:
    """See above. In registration's trial run, where PENSTOCK_ROLE is not set, there is no marked row."""

    provider = "cpu"

    def __init__(self, spec: LoadSpec) -> None:
        self.inputs = (TensorSpec(name="x", dtype="float32", shape=(None, 4)),)
        self.outputs = (TensorSpec(name="y", dtype="float32", shape=(None, 4)),)
        options = spec.options
        self._call_s, self._row_s = float(options["call_ms"]) / 1000, float(options["row_ms"]) / 1000
        self._marks = Path(str(options["marks"]))
        self._effects = os.open(str(options["effects"]), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)

    def run(self, inputs: Tensors) -> dict[str, Array]:
        x = np.asarray(inputs["x"])
        marked = x[x[:, 3] == MARK]
        for value in marked[:, 0]:
            os.write(self._effects, json.dumps({"value": float(value), "pid": os.getpid()}).encode() + b"\n")
        time.sleep(self._call_s + self._row_s * len(x))
        self._misbehave(marked)
        y = x * np.float32(2) + np.float32(1)
        y[(x[:, 1] == Kind.NAN) & (x[:, 3] == MARK)] = np.nan
        return {"y": y}

    def _misbehave(self, marked: Array) -> None:
        kinds = {int(kind) for kind in marked[:, 1]}
        if Kind.POISON in kinds:
            ctypes.string_at(8)
        if Kind.HANG in kinds:
            time.sleep(3600)
        if Kind.TOO_BIG in kinds and len(marked) > 1:
            raise OutOfMemory("The test engine was asked for too much.")
        if Kind.WRONG in kinds:
            raise RuntimeError("the test engine was asked to fail")
        for row in marked[marked[:, 1] == Kind.RETRYABLE]:
            self._fail_once(int(row[0]), is_alone=len(marked) == 1)

    def _fail_once(self, value: int, *, is_alone: bool) -> None:
        mark = self._marks / str(value)
        if mark.exists():
            return
        if is_alone:
            mark.touch()
        raise OutOfMemory("The test engine was asked to fail once.")

    def close(self) -> None:
        pass


def answer(value: int, kind: Kind, other: int) -> dict[str, list[list[float | None]]]:
    """What such a job is answered when it completes."""
    if kind is Kind.NAN:
        return {"y": [[None] * 4]}
    return {"y": [[2.0 * number + 1.0 for number in (value, kind, other, MARK)]]}
