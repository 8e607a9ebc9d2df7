"""What the documentation says of a service's config; `inference.serving.config` reads it."""

from typing import Any

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
        {"type": "integer", "minimum": 0, "maximum": config.MAX_MEMORY_BYTES - 1},
        {"type": "string", "pattern": f"^{config.MEMORY_FORM}$", "maxLength": config.MEMORY_LENGTH},
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
        },
        "What each replica needs",
    ),
    "auto_scaling": _object(
        {
            "enabled": {"type": "boolean"},
            "min_replicas": _whole(0, config.MAX_REPLICAS, "At most max_replicas"),
            "max_replicas": _whole(0, config.MAX_REPLICAS, "At least min_replicas"),
            "target_cpu_utilization": _number(1, 100, "Percent"),
        },
        "Kept and shown; nothing acts on it yet",
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
