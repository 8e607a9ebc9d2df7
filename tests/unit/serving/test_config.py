"""The reader of service config: what it takes, and the sentences in which it refuses."""

import dataclasses
import json

import pytest

from inference.errors import InvalidField, PenstockError, UnknownField
from inference.serving import config
from inference.serving.model import Requirements, ServiceConfig
from inference.settings import EnginesSettings, JobsSettings


def test_a_config_that_says_nothing_is_the_default():
    assert config.read({}) == ServiceConfig(raw={})


def test_the_contract_example_is_read_and_kept_as_written():
    raw = {
        "replicas": 2,
        "resource_requirements": {"gpu": 1, "cpu": 4, "memory": "16Gi"},
        "auto_scaling": {"enabled": True, "min_replicas": 1, "max_replicas": 4, "target_cpu_utilization": 70},
    }

    read = config.read(raw)

    assert read.replicas == 2
    assert read.requirements == Requirements(gpu=1, cpu=4.0, memory_bytes=16 << 30)
    assert read.raw == raw


def test_ceilings_that_are_not_named_leave_replicas_open_and_instances_at_their_floor():
    scaling = config.read({"auto_scaling": {"enabled": True, "min_instances": 2}}).auto_scaling

    assert (scaling.min_replicas, scaling.max_replicas) == (1, config.MAX_REPLICAS)
    assert (scaling.min_instances, scaling.max_instances) == (2, 2)


def test_settings_give_the_defaults():
    base = config.defaults(JobsSettings(max_attempts=7, head_start_s=10), EnginesSettings(objective_ms=99))

    read = config.read({"instances": 2}, base)

    assert (read.max_attempts, read.head_start_s, read.objective_ms, read.instances) == (7, 10, 99, 2)


def test_strict_priority_is_worth_more_than_any_wait():
    assert config.read({"head_start_s": "strict"}).head_start_s == config.STRICT_S
    assert config.STRICT_S > 20 * 365 * 86_400


@pytest.mark.parametrize(
    ("text", "size"),
    [("16Gi", 16 << 30), ("512M", 512_000_000), ("1.5Gi", 3 << 29), ("2GiB", 2 << 30), (1024, 1024), ("7", 7)],
)
def test_memory_is_read_with_its_unit(text, size):
    assert config.memory_bytes("m", text) == size


@pytest.mark.parametrize("text", ["16Zi", "-1Gi", "", "Gi", True, None, 1.5, "9" * 40, "99999999Pi", -1])
def test_an_impossible_size_is_refused(text):
    with pytest.raises(InvalidField, match="a size such as"):
        config.memory_bytes("m", text)


@pytest.mark.parametrize(
    ("raw", "field"),
    [
        ({"replicas": -1}, "config.replicas"),
        ({"replicas": 65}, "config.replicas"),
        ({"replicas": True}, "config.replicas"),
        ({"replicas": "2"}, "config.replicas"),
        ({"replicas": None}, "config.replicas"),
        ({"instances": 0}, "config.instances"),
        ({"instances": 33}, "config.instances"),
        ({"instances": 1.0}, "config.instances"),
        ({"resource_requirements": []}, "config.resource_requirements"),
        ({"resource_requirements": {"gpu": 2}}, "config.resource_requirements.gpu"),
        ({"resource_requirements": {"gpu": True}}, "config.resource_requirements.gpu"),
        ({"resource_requirements": {"cpu": -1}}, "config.resource_requirements.cpu"),
        ({"resource_requirements": {"memory": "much"}}, "config.resource_requirements.memory"),
        ({"auto_scaling": {"enabled": "yes"}}, "config.auto_scaling.enabled"),
        ({"auto_scaling": {"policy": "magic"}}, "config.auto_scaling.policy"),
        ({"auto_scaling": {"schedules": [{"cron": "8am"}]}}, "config.auto_scaling.schedules[0].min_replicas"),
        ({"auto_scaling": {"schedules": [{"cron": "8", "min_replicas": 1}]}}, "config.auto_scaling.schedules[0].cron"),
        (
            {"auto_scaling": {"schedules": [{"cron": "99 * * * *", "min_replicas": 1}]}},
            "config.auto_scaling.schedules[0].cron",
        ),
        (
            {"auto_scaling": {"schedules": [{"cron": "0 0 31 2 *", "min_replicas": 1}]}},
            "config.auto_scaling.schedules[0].cron",
        ),
        ({"priority": 11}, "config.priority"),
        ({"idle_reclaim": "maybe"}, "config.idle_reclaim"),
        ({"fallback_service_id": ""}, "config.fallback_service_id"),
        ({"auto_scaling": {"min_replicas": 3, "max_replicas": 2}}, "config.auto_scaling"),
        ({"auto_scaling": {"max_replicas": 0}}, "config.auto_scaling.max_replicas"),
        (
            {"auto_scaling": {"max_replicas": 2, "schedules": [{"cron": "0 8 * * *", "min_replicas": 3}]}},
            "config.auto_scaling.schedules[0].min_replicas",
        ),
        ({"resource_requirements": {"gpu": 0, "gpu_memory": "2Gi"}}, "config.resource_requirements.gpu"),
        (
            {"auto_scaling": {"schedules": [{"cron": "0 8 * * *", "min_replicas": 1}] * 33}},
            "config.auto_scaling.schedules",
        ),
        ({"head_start_s": "fast"}, "config.head_start_s"),
        ({"head_start_s": float("nan")}, "config.head_start_s"),
        ({"timeout_s": 0}, "config.timeout_s"),
        ({"objective_ms": float("inf")}, "config.objective_ms"),
        ({"max_batch": 0}, "config.max_batch"),
        ({"max_wait_ms": -1}, "config.max_wait_ms"),
        ({"queue_while_stopped": 1}, "config.queue_while_stopped"),
        ({"provider": "tpu"}, "config.provider"),
        ({"nan_policy": "drop"}, "config.nan_policy"),
        ({"threads": 0}, "config.threads"),
        ({"max_attempts": 0}, "config.max_attempts"),
    ],
)
def test_an_impossible_value_is_refused_by_name(raw, field):
    with pytest.raises(InvalidField) as refused:
        config.read(raw)

    assert refused.value.details["field"] == field
    assert refused.value.message.startswith(field)


def test_config_must_be_an_object():
    with pytest.raises(InvalidField, match="config must be an object, not a list"):
        config.read([])  # type: ignore[arg-type]  # what JSON may bring


@pytest.mark.parametrize(
    ("raw", "field"),
    [
        ({"replica": 1}, "config.replica"),
        ({"resource_requirements": {"ram": 1}}, "config.resource_requirements.ram"),
        ({"auto_scaling": {"on": True}}, "config.auto_scaling.on"),
    ],
)
def test_an_unknown_field_is_named_with_the_known_ones(raw, field):
    with pytest.raises(UnknownField) as refused:
        config.read(raw)

    assert refused.value.details["field"] == field
    assert refused.value.details["known"]


def test_a_change_keeps_what_it_does_not_name():
    current = config.read({"replicas": 2, "max_batch": 8, "timeout_s": 5})

    changed = config.change(current, {"max_batch": 16})

    assert (changed.replicas, changed.max_batch, changed.timeout_s) == (2, 16, 5)
    assert changed.raw == {"replicas": 2, "max_batch": 16, "timeout_s": 5}


def test_null_takes_a_key_back_to_its_default():
    current = config.read({"replicas": 2, "max_batch": 8, "resource_requirements": {"cpu": 1}})

    changed = config.change(current, {"max_batch": None, "resource_requirements": None, "replicas": None})

    assert changed == ServiceConfig(raw={})


def test_a_change_goes_back_to_the_defaults_of_the_settings():
    base = ServiceConfig(objective_ms=99)
    current = config.read({"objective_ms": 5}, base)

    assert config.change(current, {"objective_ms": None}, base).objective_ms == 99


def test_an_unknown_key_set_to_null_is_still_unknown():
    with pytest.raises(UnknownField):
        config.change(ServiceConfig(), {"nonsense": None})


def test_a_config_that_was_kept_is_read_back_whole():
    raw = {"resource_requirements": {"gpu_memory": "2Gi"}, "auto_scaling": {"min_replicas": 0}, "nan_policy": "null"}
    made = config.read(raw)

    assert config.kept(json.loads(json.dumps(dataclasses.asdict(made)))) == made
    assert config.kept(json.loads(json.dumps(dataclasses.asdict(config.read({}))))) == config.read({})


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"timeout_s": "soon"}, "config.timeout_s"),
        ({"colour": 1}, "config.colour"),
        ({"requirements": {"gpu": 3}}, "config.resource_requirements.gpu"),
        ({"requirements": {"gpus": 1}}, "config.requirements.gpus"),
        ({"requirements": None}, "config.requirements"),
        ({"auto_scaling": []}, "config.auto_scaling"),
        ({"raw": {"colour": 1}}, "config.raw.colour"),
    ],
)
def test_a_config_that_was_edited_is_refused_as_one_that_is_written(changes, field):
    kept = {**dataclasses.asdict(config.read({})), **changes}

    with pytest.raises(PenstockError) as refusal:
        config.kept(kept)

    assert refusal.value.details["field"] == field
