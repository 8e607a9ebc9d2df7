"""The rules for names, versions and configuration."""

import pytest

from inference.errors import InvalidField
from inference.registry import checks


@pytest.mark.parametrize("name", ["digits", "a", "ResNet-50_v1.5", "7b", "x" * 128])
def test_a_plain_name_is_accepted(name):
    assert checks.check_name(name) == name


@pytest.mark.parametrize("name", ["", "-a", ".a", "a b", "a/b", "ä", "a\n", "a\0", "x" * 129, None, 3, ["a"]])
def test_any_other_name_is_refused(name):
    with pytest.raises(InvalidField) as caught:
        checks.check_name(name)

    assert caught.value.details == {"field": "name"}


@pytest.mark.parametrize("version", ["0.0.0", "1.2.3", "1.0.0-rc.1", "1.0.0-alpha-a.b+001", "10.20.30+build"])
def test_a_semantic_version_is_accepted(version):
    assert checks.check_version(version) == version


@pytest.mark.parametrize(
    "version",
    ["", "1", "1.0", "v1.0.0", "01.0.0", "1.0.0-", "1.0.0-01", "1.0.0+", "1.0.0\n", "١.0.0", "1." * 40, 1.0, None],
)
def test_any_other_version_is_refused(version):
    with pytest.raises(InvalidField, match="semantic version"):
        checks.check_version(version)


def test_versions_sort_by_precedence():
    order = [
        "0.9.10",
        "1.0.0-alpha",
        "1.0.0-alpha.1",
        "1.0.0-alpha.beta",
        "1.0.0-rc.2",
        "1.0.0-rc.11",
        "1.0.0",
        "1.2.0",
        "1.10.0",
    ]

    assert sorted(set(order), key=checks.version_key) == order


def test_keys_that_are_not_ours_are_kept():
    config = {"max_batch": 8, "engine": {"optimisation": "all"}, "golden": None, "nan_policy": "fail", "notes": ["a"]}

    assert checks.check_config(config) == config
    assert checks.check_config(None) == {}


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"preproces": []}, "no key 'preproces'; did you mean 'preprocess'"),
        ({"Postprocess": []}, "did you mean 'postprocess'"),
        ({"golden": [1]}, "deployment_config.golden must be an object"),
        ({"engine": "fast"}, "deployment_config.engine must be an object"),
        ({"nan_policy": "drop"}, "deployment_config.nan_policy must be one of null, fail, pass"),
        ({"nan_policy": {}}, "deployment_config.nan_policy must be"),
        ({"nan_polici": "fail"}, "did you mean 'nan_policy'"),
        ([1], "deployment_config must be an object"),
        ({"a": float("nan")}, "without NaN"),
        ({"a": "x" * 1_100_000}, "the limit is 1048576"),
    ],
)
def test_configuration_that_cannot_be_meant_is_refused(config, sentence):
    with pytest.raises(InvalidField, match=sentence):
        checks.check_config(config)
