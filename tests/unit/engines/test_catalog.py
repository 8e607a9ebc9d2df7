"""Engines by name."""

import pytest

from inference.engines import catalog
from inference.errors import BadSettings, InvalidField


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


@pytest.mark.parametrize(("name", "says"), [("onnx", False), ("double", False), ("runs-code", True)])
def test_an_engine_says_whether_it_runs_code_out_of_artefacts(name, says):
    plugins = "double=tests.engines_for_tests:Double,runs-code=tests.engines_for_tests:RunsCode"

    assert catalog.runs_code(name, plugins) is says
