"""What the documentation says of a service's config; `inference.serving.config` reads it."""

from typing import Any

from inference.resources import sizes
from inference.serving import config
from inference.tensors import NanPolicy

Schema = dict[str, Any]


def _whole(low: int, high: int, description: str) -> Schema:
    return {"type": "integer", "minimum": low, "maximum": high, "description": description}


def _number(low: float, high: float, description: str) -> Schema:
    return {"type": "number", "minimum": low, "maximum": high, "description": description}


def _object(properties: Schema, description: str) -> Schema:
    return {"type": "object", "properties": properties, "additionalProperties": False, "description": description}


MEMORY: Schema = {
    "anyOf": [
        {"type": "integer", "minimum": 0, "maximum": sizes.MAX_BYTES - 1},
        {"type": "string", "pattern": f"^{sizes.FORM}$", "maxLength": sizes.LENGTH},
    ],
    "description": 'Such as "16Gi" or "512M", or bytes',
    "example": "1Gi",
}
PROPERTIES: Schema = {
    "replicas": _whole(0, config.MAX_REPLICAS, "Celery nodes"),
    "instances": _whole(1, config.MAX_INSTANCES, "Engine processes per node"),
    "resource_requirements": _object(
        {
            "gpu": {"type": "integer", "enum": [0, 1]},
            "cpu": _number(0, 4096, "Cores"),
            "memory": MEMORY,
            "gpu_memory": MEMORY,
        },
        "What each replica needs",
    ),
    "auto_scaling": _object(
        {
            "enabled": {"type": "boolean"},
            "policy": {"type": "string", "enum": [*config.POLICIES]},
            "min_replicas": _whole(0, config.MAX_REPLICAS, "At most max_replicas; 0 lets the service rest"),
            "max_replicas": _whole(1, config.MAX_REPLICAS, "At least min_replicas"),
            "min_instances": _whole(1, config.MAX_INSTANCES, "Engine processes per node, at least"),
            "max_instances": _whole(1, config.MAX_INSTANCES, "Engine processes per node, at most"),
            "objective_s": _number(0.01, 86_400, "From submission to completion"),
            "target_cpu_utilization": _number(1, 100, "Percent; for the policy `thresholds`"),
            "hold_down_s": _number(0, 86_400, "No scale-in earlier than this after the last need") | {"nullable": True},
            "schedules": {
                "type": "array",
                "maxItems": config.MAX_SCHEDULES,
                "items": _object(
                    {
                        "cron": {"type": "string", "example": "0 8 * * 1-5"},
                        "min_replicas": _whole(0, config.MAX_REPLICAS, "There while the schedule holds"),
                        "duration_s": _number(1, 7 * 86_400, "How long it holds; default 3600"),
                    },
                    "Capacity that is there ahead of time",
                ),
                "description": "Cron times are UTC",
            },
            "max_cost_per_hour": _number(0, 1e9, "In the currency of the price table; 0 = no limit"),
        },
        "See docs/autoscaling.md",
    ),
    "head_start_s": {
        "anyOf": [
            {"type": "number", "minimum": 0, "maximum": config.STRICT_S},
            {"type": "string", "enum": ["strict"]},
        ],
        "description": "Seconds of waiting that one level of priority is worth",
    },
    "max_attempts": _whole(1, 100, "Of a task whose attempts fail for reasons that may pass"),
    "timeout_s": _number(0.001, 86_400, "Longest engine call"),
    "objective_ms": _number(0.1, 3_600_000, "The 99th percentile that batches are sized for"),
    "max_batch": _whole(1, 65_536, "Rows in one engine call; null = as measured") | {"nullable": True},
    "max_wait_ms": _number(0, 60_000, "How long a batch may wait to be filled"),
    "queue_while_stopped": {"type": "boolean", "description": "Whether a stopped service accepts tasks"},
    "provider": {"type": "string", "enum": [*config.PROVIDERS]},
    "threads": _whole(1, 256, "Of each engine process; null = the setting") | {"nullable": True},
    "nan_policy": {
        "type": "string",
        "enum": [policy.value for policy in NanPolicy],
        "description": "What NaN and infinity in an output become: null, a failure of that task, or the texts "
        '"NaN", "Infinity", "-Infinity". Default: as the deployment_config of the model says',
    },
    "allow_code": {"type": "boolean", "description": "Whether a model that runs code may be loaded; admins only"},
    "priority": _whole(1, 10, "Who gets room first, and who gives it up; 10 is highest"),
    "preemptible": {"type": "boolean", "description": "Whether a service of higher priority may take its room"},
    "idle_ttl_s": _number(0, 30 * 86_400, "Unloaded after this many idle seconds; null = never") | {"nullable": True},
    "idle_reclaim": {
        "type": "string",
        "enum": [*config.RECLAIMS],
        "description": "`pressure`: idle models are unloaded when another service waits for room; `strict`: always",
    },
    "fallback_service_id": {
        "type": "string",
        "minLength": 1,
        "maxLength": 32,
        "nullable": True,
        "description": "A lighter service that takes the tasks while this one has no room: docs/jobs.md",
    },
    "coalesce": {"type": "boolean", "description": "Whether equal inputs that wait share one run: docs/cache.md"},
    "cache_ttl_s": _number(1, config.MAX_CACHE_TTL_S, "Seconds an answer is kept for equal inputs; null = none is")
    | {"nullable": True},
    "cache_max_bytes": MEMORY
    | {"description": "Of what is kept; what was used least lately goes first", "example": "64Mi"},
    "cache_warm": _whole(0, config.MAX_WARM, "Inputs used most, run again at a change of version"),
}
CONFIG: Schema = _object(PROPERTIES, "See docs/api.md")


def _or_null(schema: Schema) -> Schema:
    """Where a key may also be null. In OpenAPI 3.0 an enum must then name null, too."""
    nullable = {**schema, "nullable": True}
    if "enum" in schema:
        nullable["enum"] = [*schema["enum"], None]
    if "anyOf" in schema:
        nullable = {**schema, "anyOf": [_or_null(one) for one in schema["anyOf"]]}
    return nullable


CHANGES: Schema = _object(
    {name: _or_null(schema) for name, schema in PROPERTIES.items()},
    "Keys to change; null takes a key to its default; a key is replaced whole",
)
