"""The rules for what a client may write when it registers a model. Pure."""

import difflib
import json
import re
from collections.abc import Mapping
from typing import Any

from inference.errors import InvalidField
from inference.tensors import NanPolicy

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
# Source: the expression given at semver.org, version 2.0.0.
_NUMBER = r"(?:0|[1-9]\d*)"
_LABEL = r"(?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)"
SEMVER = re.compile(
    rf"({_NUMBER})\.({_NUMBER})\.({_NUMBER})(?:-({_LABEL}(?:\.{_LABEL})*))?(?:\+[0-9a-zA-Z-]+(?:\.[0-9a-zA-Z-]+)*)?",
    re.ASCII,
)
VERSION_LENGTH = 64
CONFIG_KEYS = ("preprocess", "postprocess", "golden", "engine", "nan_policy")
LIMIT_BYTES = {"metadata": 65_536, "accuracy_metrics": 65_536, "deployment_config": 1_048_576}


def check_name(name: object) -> str:
    """Letters, digits, `.`, `_`, `-`; begins with a letter or digit; at most 128. Raises InvalidField."""
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise InvalidField(
            "name must begin with a letter or digit and hold only letters, digits, '.', '_' and '-', at most 128.",
            field="name",
        )
    return name


def check_version(version: object) -> str:
    """A semantic version (2.0.0 of that standard). Raises InvalidField."""
    if not isinstance(version, str) or len(version) > VERSION_LENGTH or not SEMVER.fullmatch(version):
        raise InvalidField(
            "version must be a semantic version such as 1.0.0 or 2.1.0-rc.1, without a leading v.", field="version"
        )
    return version


def version_key(version: str) -> tuple[int, int, int, int, tuple[tuple[int, int, str], ...]]:
    """Sorts semantic versions by precedence: a pre-release stands before its release.

    Source: semver.org, section 11.
    """
    found = SEMVER.fullmatch(version)
    if found is None:
        raise InvalidField(f"'{version[:80]}' is not a semantic version.", field="version")
    labels = found[4].split(".") if found[4] else []
    order = tuple((0, int(label), "") if label.isdigit() else (1, 0, label) for label in labels)
    return int(found[1]), int(found[2]), int(found[3]), 0 if labels else 1, order


def check_mapping(field: str, value: object) -> dict[str, Any]:
    """A JSON object of bearable size; None counts as empty. Raises InvalidField."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise InvalidField(f"{field} must be an object.", field=field)
    try:
        size = len(json.dumps(value, allow_nan=False).encode())
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidField(f"{field} must hold plain JSON values, without NaN or infinity.", field=field) from error
    if size > LIMIT_BYTES[field]:
        raise InvalidField(f"{field} takes {size} bytes; the limit is {LIMIT_BYTES[field]}.", field=field)
    return dict(value)


def check_config(value: object) -> dict[str, Any]:
    """`deployment_config`: the keys known here have their form; others are kept as they are, for the service.

    A key that is nearly, but not quite, one of ours is taken for a slip of the pen. Raises InvalidField.
    """
    config = check_mapping("deployment_config", value)
    if "allow_code" in config:
        raise InvalidField(
            "allow_code does not go into deployment_config: it is a field of the registration itself, and of the "
            "config of each service.",
            field="deployment_config.allow_code",
        )
    for key in config:
        near = difflib.get_close_matches(str(key).lower(), CONFIG_KEYS, n=1, cutoff=0.85)
        if near and key not in CONFIG_KEYS:
            raise InvalidField(
                f"deployment_config has no key '{key[:80]}'; did you mean '{near[0]}'?",
                field=f"deployment_config.{key[:80]}",
            )
    if (policy := config.get("nan_policy")) is not None and policy not in [*NanPolicy]:
        raise InvalidField(
            f"deployment_config.nan_policy must be one of {', '.join(NanPolicy)}.", field="deployment_config.nan_policy"
        )
    for key in ("golden", "engine"):
        if config.get(key) is not None and not isinstance(config[key], Mapping):
            raise InvalidField(f"deployment_config.{key} must be an object.", field=f"deployment_config.{key}")
    return config
