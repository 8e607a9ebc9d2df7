"""Engines that misbehave on demand. Not a test: plugins for the tests that start real workers.

Use: PENSTOCK_ENGINES__PLUGINS='slow=tests.engines_for_tests:Slow,...' with the repository on PYTHONPATH, and a model
registered with that framework; its artefact is any file that is not empty. Options go in `deployment_config.engine`.
All take `x`, float32 [null, width] (option `width`, default 4), and give `y`, float32 of the same shape: x * 2.
In registration's trial run they all behave, unless said otherwise; there PENSTOCK_ROLE is not set.
"""

import os
import pickle
import signal
import time
from pathlib import Path

import numpy as np

from inference.engines.base import LoadSpec
from inference.errors import EngineLoadFailed
from inference.tensors import Array, Tensors, TensorSpec


class Double:
    """y = 2 x. Options `sleep_ms`: how long a call takes, whatever its rows; `row_ms`: how much longer for each row."""

    provider = "cpu"

    def __init__(self, spec: LoadSpec) -> None:
        self.options = spec.options
        width = int(spec.options.get("width", 4))
        self.inputs = (TensorSpec(name="x", dtype="float32", shape=(None, width)),)
        self.outputs = (TensorSpec(name="y", dtype="float32", shape=(None, width)),)

    def run(self, inputs: Tensors) -> dict[str, Array]:
        x = inputs["x"]
        time.sleep((float(self.options.get("sleep_ms", 0)) + float(self.options.get("row_ms", 0)) * len(x)) / 1000)
        self.before(x)
        return {"y": np.asarray(x * np.float32(2))}

    def before(self, x: Array) -> None:
        """Where the others misbehave."""

    def close(self) -> None:
        pass


class Slow(Double):
    """Takes `load_s` seconds (default 6) to load; in registration's trial too."""

    def __init__(self, spec: LoadSpec) -> None:
        time.sleep(float(spec.options.get("load_s", 6)))
        super().__init__(spec)


class CrashOnLoad(Double):
    """Does not load outside of registration, or, with option `when_exists`, only while that file exists.

    Option `how`: `raise` (EngineLoadFailed, the default), `exit` (code 9) or `signal` (SIGSEGV). Option `tally`: a file
    that grows by one line with every try of a worker.
    """

    def __init__(self, spec: LoadSpec) -> None:
        super().__init__(spec)
        if (tally := spec.options.get("tally")) and "PENSTOCK_ROLE" in os.environ:
            with Path(tally).open("a") as file:
                file.write(f"{os.getpid()}\n")
        trigger = spec.options.get("when_exists")
        if Path(trigger).exists() if trigger else "PENSTOCK_ROLE" in os.environ:
            _fall(str(spec.options.get("how", "raise")))


class CrashOnValue(Double):
    """Ends its process when an input holds `value` (default 666). Option `how`: `signal` (the default) or `exit`."""

    def before(self, x: Array) -> None:
        if _holds(x, float(self.options.get("value", 666))):
            _fall(str(self.options.get("how", "signal")))


class HangOnValue(Double):
    """Never returns when an input holds `value` (default 777); with option `hang_s`, returns after that long."""

    def before(self, x: Array) -> None:
        if _holds(x, float(self.options.get("value", 777))):
            end = time.monotonic() + float(self.options.get("hang_s", 1e9))
            while time.monotonic() < end:
                time.sleep(0.05)


class RaiseOnValue(Double):
    """Raises a foreign exception when an input holds `value` (default 555)."""

    def before(self, x: Array) -> None:
        if _holds(x, float(self.options.get("value", 555))):
            raise RuntimeError("the test engine was asked to fail")


class Reports(Double):
    """Says that it is at a quarter, for `value` (default 333), and goes on once the file `when_exists` is there."""

    def __init__(self, spec: LoadSpec) -> None:
        super().__init__(spec)
        self.report = spec.report

    def before(self, x: Array) -> None:
        if _holds(x, float(self.options.get("value", 333))):
            while not Path(str(self.options["when_exists"])).exists():
                self.report(0.25, "step 1 of 4")
                time.sleep(0.02)


class TellsInput(Double):
    """Raises a foreign exception that holds the whole input, for `value` (default 444) and above."""

    def before(self, x: Array) -> None:
        if (x >= float(self.options.get("value", 444))).any():
            raise RuntimeError(f"cannot take {x.tolist()}")


class Unpickle(Double):
    """Loads its artefact as careless engines do, in registration's trial too: by unpickling it."""

    def __init__(self, spec: LoadSpec) -> None:
        super().__init__(spec)
        pickle.loads(spec.path.read_bytes())


class RunsCode(Double):
    """Says that it runs code out of its artefact, whatever that looks like."""

    runs_code = True


SegfaultOnValue = CrashOnValue
Echo = Double


def _holds(x: Array, value: float) -> bool:
    return bool((x == np.float32(value)).any())


def _fall(how: str) -> None:
    if how == "raise":
        raise EngineLoadFailed("The test engine was asked not to load.")
    if how == "exit":
        os._exit(9)
    os.kill(os.getpid(), signal.SIGSEGV)
    time.sleep(10)
