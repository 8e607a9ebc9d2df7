"""Engines by name."""

from pathlib import Path

import numpy as np
import pytest

from inference.engines import catalog
from inference.engines.base import LoadSpec
from inference.errors import BadSettings, InvalidField
from inference.tensors import TensorSpec


def test_onnx_is_built_in():
    assert catalog.known() == ["onnx"]
    assert callable(catalog.find("onnx"))


def test_an_unknown_framework_is_told_what_is_known():
    with pytest.raises(InvalidField, match="'caffe'; known here: double, onnx") as caught:
        catalog.find("caffe", "double=tests.engines_for_tests:Double")

    assert caught.value.details == {"field": "framework", "known": ["double", "onnx"]}


def test_a_plugin_named_in_the_settings_is_found():
    assert callable(catalog.find("two", "one=tests.engines_for_tests:Slow , two=tests.engines_for_tests:Double"))


@pytest.mark.parametrize(
    "plugins",
    ["double", "double=tests.engines_for_tests", "=a:B", "d=no.such.module:X", "d=tests.engines_for_tests:No"],
)
def test_a_plugin_that_cannot_be_is_a_bad_setting(plugins):
    with pytest.raises(BadSettings, match="PENSTOCK_ENGINES__PLUGINS"):
        catalog.find("d", plugins)


class Steps:
    """Takes two rows at a time, and says at half and at the end of each call how far it is; then of its second row."""

    provider = "cpu"
    inputs = outputs = (TensorSpec(name="x", dtype="float32", shape=(2,)),)

    def __init__(self, spec):
        self._report = spec.report

    def run(self, inputs):
        self._report(0.5, "half")
        self._report(1.0, row=1)
        return dict(inputs)

    def close(self):
        pass


def test_what_an_engine_of_fixed_batches_reports_is_said_of_the_whole_batch():
    said = []

    def report(fraction, message="", *, row=None):
        said.append((round(fraction, 3), message, row))

    engine = catalog.cut(Steps)(LoadSpec(path=Path(), report=report))
    engine.run({"x": np.zeros(5, np.float32)})

    assert [one for one in said if one[1]] == [(0.2, "half", None), (0.6, "half", None), (0.9, "half", None)]
    assert [one for one in said if not one[1]] == [(1.0, "", 1), (1.0, "", 3), (1.0, "", 5)]


@pytest.mark.parametrize(("name", "says"), [("onnx", False), ("double", False), ("runs-code", True)])
def test_an_engine_says_whether_it_runs_code_out_of_artefacts(name, says):
    plugins = "double=tests.engines_for_tests:Double,runs-code=tests.engines_for_tests:RunsCode"

    assert catalog.runs_code(name, plugins) is says
