"""What the documentation says of tensors in a request; `inference.jobs.inputs` reads them."""

from typing import Any

from inference.jobs.json_text import MAX_DEPTH
from inference.tensors import DTYPES

_LENGTH = {"type": "integer", "minimum": 0, "maximum": (1 << 31) - 1}
_SAID = {
    "dtype": {"type": "string", "enum": sorted(DTYPES)},
    "shape": {"type": "array", "items": _LENGTH, "maxItems": MAX_DEPTH},
}
_NESTED: list[dict[str, Any]] = [
    {"type": "array", "items": {}, "description": "A nested list"},
    {"type": "number", "description": "A single value, of a tensor that has the batch axis alone"},
    {"type": "boolean", "description": "The same, of a tensor of bool"},
]


def _form(content: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {content: schema, **_SAID},
        "required": [content, *_SAID],
        "additionalProperties": False,
    }


BASE64 = "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$"
TENSOR: dict[str, Any] = {
    "anyOf": [
        *_NESTED,
        _form("data", {"anyOf": _NESTED}),
        _form("b64", {"type": "string", "pattern": BASE64, "description": "Little-endian, in C order"}),
    ]
}
INPUT_DATA: dict[str, Any] = {
    "type": "object",
    "minProperties": 1,
    "additionalProperties": TENSOR,
    "description": 'Tensor name -> nested list, {"data","dtype","shape"} or {"b64","dtype","shape"}; batch axis first, '
    "one rank less = one row. Which tensors there are, and their shapes, the model says. At most 128 KB.",
}
