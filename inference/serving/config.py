"""The one reader of a service's config: from the JSON a client wrote to `ServiceConfig`."""

import dataclasses
import math
import re
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from typing import Any

from cronsim import CronSim, CronSimError

from inference.errors import InvalidField, UnknownField
from inference.resources import sizes
from inference.serving.model import AutoScaling, Requirements, ServiceConfig
from inference.settings import EnginesSettings, JobsSettings
from inference.tensors import NanPolicy

MAX_REPLICAS = 64
MAX_INSTANCES = 32
STRICT_S = 1e9
"""What one level of priority is worth under `strict`: 31 years of waiting."""

PROVIDERS = ("auto", "cpu", "cuda")
POLICIES = ("slo_drain", "thresholds")
RECLAIMS = ("pressure", "strict")
MAX_SCHEDULES = 32
MAX_CACHE_TTL_S = 30 * 86_400
MAX_WARM = 1_000
_REQUIREMENTS = ("gpu", "cpu", "memory", "gpu_memory")


def defaults(jobs: JobsSettings, engines: EnginesSettings) -> ServiceConfig:
    """What holds for a service whose config says nothing."""
    return ServiceConfig(
        head_start_s=jobs.head_start_s,
        max_attempts=jobs.max_attempts,
        timeout_s=jobs.timeout_s,
        objective_ms=engines.objective_ms,
    )


def read(raw: Mapping[str, Any], defaults: ServiceConfig = ServiceConfig()) -> ServiceConfig:  # noqa: B008
    """The config that `raw` describes; what it does not name is as in `defaults`.

    Raises UnknownField and InvalidField, which name the field.
    """
    _known(raw, _READERS, "config")
    values: dict[str, Any] = {}
    for key, value in raw.items():
        name = "requirements" if key == "resource_requirements" else key
        values[name] = _READERS[key](f"config.{key}", value)
    return dataclasses.replace(defaults, raw=dict(raw), **values)


def change(current: ServiceConfig, changes: Mapping[str, Any], base: ServiceConfig = ServiceConfig()) -> ServiceConfig:  # noqa: B008
    """`current` with some keys changed. null takes a key back to what `base` says; a key is replaced whole.

    Raises UnknownField and InvalidField.
    """
    _known(changes, _READERS, "config")
    kept = {key: value for key, value in current.raw.items() if changes.get(key, value) is not None}
    reset = {_field(key): getattr(base, _field(key)) for key in changes}
    written = {key: value for key, value in changes.items() if value is not None}
    changed = read(written, dataclasses.replace(current, **reset))
    return dataclasses.replace(changed, raw={**kept, **written})


def kept(values: Mapping[str, Any]) -> ServiceConfig:
    """A whole config as it was kept, each of its fields checked as if a client had written it.

    Raises UnknownField and InvalidField.
    """
    if not isinstance(values, Mapping):
        raise _invalid("config", "an object", values)
    written = {key: value for key, value in values.items() if key not in ("raw", "requirements", "auto_scaling")}
    if written.get("nan_policy", 0) is None:
        del written["nan_policy"]
    wants = values.get("requirements", {})
    _known(wants, [field.name for field in dataclasses.fields(Requirements)], "config.requirements")
    named = {name.removesuffix("_bytes"): value for name, value in wants.items() if (name, value) != ("gpu", 0)}
    written["resource_requirements"] = named
    written["auto_scaling"] = values.get("auto_scaling", {})
    raw = values.get("raw", {})
    _known(raw, _READERS, "config.raw")
    return dataclasses.replace(read(written), raw=dict(raw))


def _field(key: str) -> str:
    return "requirements" if key == "resource_requirements" else key


def _known(raw: object, names: Collection[str], where: str) -> None:
    if not isinstance(raw, Mapping):
        raise InvalidField(f"{where} must be an object, not {_kind(raw)}.", field=where)
    for key in raw:
        if key not in names:
            raise UnknownField(
                f"{where} has no field '{key}'; known are {', '.join(names)}.", field=f"{where}.{key}", known=[*names]
            )


def _kind(value: object) -> str:
    """The JSON name of a value's type."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else "a boolean"
    names = ((str, "a string"), (int | float, "a number"), (Mapping, "an object"))
    return next((name for kind, name in names if isinstance(value, kind)), "a list")


def _invalid(where: str, expected: str, value: object) -> InvalidField:
    if isinstance(value, bool):
        shown = str(value).lower()
    else:
        shown = repr(value) if isinstance(value, int | float | str) and len(repr(value)) <= 60 else _kind(value)
    return InvalidField(f"{where} must be {expected}, not {shown}.", field=where)


def _integer(low: int, high: int) -> Callable[[str, Any], int]:
    def check(where: str, value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise _invalid(where, f"a whole number from {low} to {high}", value)
        return value

    return check


def _plain(number: float) -> str:
    return f"{number:.0f}" if number == int(number) else f"{number:g}"


def _number(low: float, high: float) -> Callable[[str, Any], float]:
    def check(where: str, value: Any) -> float:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not math.isfinite(value) or not low <= value <= high:
            raise _invalid(where, f"a number from {_plain(low)} to {_plain(high)}", value)
        return float(value)

    return check


def _boolean(where: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise _invalid(where, "true or false", value)
    return value


def _one_of(*choices: str) -> Callable[[str, Any], str]:
    def check(where: str, value: Any) -> str:
        if not isinstance(value, str) or value not in choices:
            raise _invalid(where, f"one of {', '.join(choices)}", value)
        return value

    return check


def _optional(check: Callable[[str, Any], Any]) -> Callable[[str, Any], Any]:
    return lambda where, value: None if value is None else check(where, value)


def _head_start(where: str, value: Any) -> float:
    if value == "strict":
        return STRICT_S
    if isinstance(value, str):
        raise _invalid(where, 'a number of seconds, or "strict"', value)
    return _number(0, STRICT_S)(where, value)


def memory_bytes(where: str, value: Any) -> int:
    """Bytes of "16Gi", "512M" or a plain number. Raises InvalidField."""
    if (size := sizes.bytes_of(value)) is None:
        raise _invalid(where, 'a size such as "16Gi" or "512M", or bytes', value)
    return size


def _requirements(where: str, value: Any) -> Requirements:
    _known(value, _REQUIREMENTS, where)
    gpu = value.get("gpu", 0)
    if gpu not in (0, 1) or isinstance(gpu, bool):
        raise _invalid(f"{where}.gpu", "0 or 1 (a replica is pinned to one device; ask for more replicas)", gpu)
    gpu_memory = memory_bytes(f"{where}.gpu_memory", value.get("gpu_memory", 0))
    if gpu_memory and value.get("gpu") == 0:
        raise InvalidField(
            f"{where}.gpu is 0 and {where}.gpu_memory is not: ask for a GPU (`gpu` 1, or leave it out), or for none.",
            field=f"{where}.gpu",
        )
    return Requirements(
        gpu=int(gpu),
        cpu=_number(0, 4096)(f"{where}.cpu", value.get("cpu", 0)),
        memory_bytes=memory_bytes(f"{where}.memory", value.get("memory", 0)),
        gpu_memory_bytes=gpu_memory,
    )


def _auto_scaling(where: str, value: Any) -> AutoScaling:
    """A ceiling that is not named is the largest there is, of replicas; of instances it is the floor."""
    _known(value, _SCALING, where)
    read = {key: check(f"{where}.{key}", value[key]) for key, check in _SCALING.items() if key in value}
    for kind, most in (("replicas", MAX_REPLICAS), ("instances", read.get("min_instances", 1))):
        low, high = read.get(f"min_{kind}", 1), read.setdefault(f"max_{kind}", most)
        if low > high:
            raise InvalidField(f"{where}.min_{kind} ({low}) is greater than max_{kind} ({high}).", field=where)
    for number, entry in enumerate(read.get("schedules", ())):
        if entry["min_replicas"] > read["max_replicas"]:
            at = f"{where}.schedules[{number}].min_replicas"
            raise InvalidField(f"{at} ({entry['min_replicas']}) is greater than max_replicas.", field=at)
    return AutoScaling(**read)


def _schedules(where: str, value: Any) -> tuple[Mapping[str, Any], ...]:
    """Each entry says when (five cron fields, UTC) and how many replicas must then be there."""
    if not isinstance(value, list):
        raise _invalid(where, "a list of schedules", value)
    if len(value) > MAX_SCHEDULES:
        raise InvalidField(f"{where} has {len(value)} schedules; {MAX_SCHEDULES} are the most.", field=where)
    for number, entry in enumerate(value):
        at = f"{where}[{number}]"
        _known(entry, ("cron", "min_replicas", "duration_s"), at)
        _integer(0, MAX_REPLICAS)(f"{at}.min_replicas", entry.get("min_replicas"))
        _number(1, 7 * 86_400)(f"{at}.duration_s", entry.get("duration_s", 3600))
        if not isinstance(entry.get("cron"), str) or not _is_cron(entry["cron"]):
            raise _invalid(f"{at}.cron", 'five cron fields in UTC, such as "0 8 * * 1-5"', entry.get("cron"))
    return tuple(value)


def _is_cron(text: str) -> bool:
    try:
        return bool(_CRON.fullmatch(text)) and next(CronSim(text, _SOME_DAY)) > _SOME_DAY
    except (CronSimError, StopIteration):  # a field out of its range, or a day that never comes
        return False


def _reference(where: str, value: Any) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= 32:
        raise _invalid(where, "the id of a service", value)
    return value


_SOME_DAY = datetime(2026, 1, 1, tzinfo=UTC)
_CRON = re.compile(r"(?:[0-9*/,-]{1,60} ){4}[0-9*/,-]{1,60}")
_SCALING: Mapping[str, Callable[[str, Any], Any]] = {
    "enabled": _boolean,
    "policy": _one_of(*POLICIES),
    "min_replicas": _integer(0, MAX_REPLICAS),
    "max_replicas": _integer(1, MAX_REPLICAS),
    "min_instances": _integer(1, MAX_INSTANCES),
    "max_instances": _integer(1, MAX_INSTANCES),
    "objective_s": _number(0.01, 86_400),
    "target_cpu_utilization": _number(1, 100),
    "hold_down_s": _optional(_number(0, 86_400)),
    "schedules": _schedules,
    "max_cost_per_hour": _number(0, 1e9),
}

_READERS: Mapping[str, Callable[[str, Any], Any]] = {
    "replicas": _integer(0, MAX_REPLICAS),
    "instances": _integer(1, MAX_INSTANCES),
    "resource_requirements": _requirements,
    "auto_scaling": _auto_scaling,
    "head_start_s": _head_start,
    "max_attempts": _integer(1, 100),
    "timeout_s": _number(0.001, 86_400),
    "objective_ms": _number(0.1, 3_600_000),
    "max_batch": _optional(_integer(1, 65_536)),
    "max_wait_ms": _number(0, 60_000),
    "queue_while_stopped": _boolean,
    "provider": _one_of(*PROVIDERS),
    "threads": _optional(_integer(1, 256)),
    "allow_code": _boolean,
    "nan_policy": _one_of(*NanPolicy),
    "priority": _integer(1, 10),
    "preemptible": _boolean,
    "idle_ttl_s": _optional(_number(0, 30 * 86_400)),
    "idle_reclaim": _one_of(*RECLAIMS),
    "fallback_service_id": _optional(_reference),
    "coalesce": _boolean,
    "cache_ttl_s": _optional(_number(1, MAX_CACHE_TTL_S)),
    "cache_max_bytes": memory_bytes,
    "cache_warm": _integer(0, MAX_WARM),
}
