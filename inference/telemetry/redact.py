"""Keeps secrets and payloads out of logs: by the name of a field, and by the look of a text."""

import functools
import re
from collections.abc import Mapping
from typing import Any

SECRET, PAYLOAD = "[secret]", "[payload]"
MOST_DEPTH = 6

_SECRET_NAMES = re.compile(
    r"passw|passphrase|secret|token|authori[sz]ation|api[-_]?key|private[-_]?key|credential|cookie|signature",
    re.IGNORECASE,
)
_HARMLESS = frozenset({"tokens", "max_tokens", "token_count", "tokens_in", "tokens_out"})
_PAYLOADS = frozenset(
    {"body", "image", "input", "input_data", "input_data_list", "inputs", "messages", "output", "output_data"}
    | {"outputs", "payload", "payloads", "prompt", "prompts", "result", "results"}
)
_TEXTS = (
    (re.compile(r"pst_([0-9a-f]{12})_[0-9a-f]{8,}"), r"pst_\1_[secret]"),
    (re.compile(r"([a-z][a-z0-9+.-]*://)[^\s/@:]*:[^\s/@]*@", re.IGNORECASE), rf"\1{SECRET}@"),
    (re.compile(r"\b(bearer|basic)\s+[\w.~+/=-]{8,}", re.IGNORECASE), rf"\1 {SECRET}"),
    (
        re.compile(r"\b(password|passwd|secret|api[-_]?key)(['\"]?\s*[=:]\s*['\"]?)[^\s'\",;&]+", re.IGNORECASE),
        rf"\1\2{SECRET}",
    ),
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|$)", re.DOTALL), SECRET),
)
_SUSPECT = re.compile(
    r"pst_|://|[bB][eE][aA][rR]|[bB][aA][sS][iI]|[pP][aA][sS][sS]|[sS][eE][cC][rR]|[aA][pP][iI][-_]?[kK]|PRIV"
)
"""Letters in both cases: much faster than without regard to it."""


def redacted(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The same, without what must not be logged. Never changes what it is given."""
    return {name: _field(name, value, 0) for name, value in fields.items()}


def text(value: str) -> str:
    """A text without API keys, passwords in URLs, logins of HTTP and private keys."""
    if value.isalnum() or not _SUSPECT.search(value):
        return value
    for pattern, instead in _TEXTS:
        value = pattern.sub(instead, value)
    return value


@functools.lru_cache(maxsize=1024)
def _instead(name: str) -> str:
    """What stands for the value of a field of this name; empty when the value may be told."""
    if name in _PAYLOADS:
        return PAYLOAD
    return SECRET if name not in _HARMLESS and _SECRET_NAMES.search(name) else ""


def _field(name: object, value: Any, depth: int) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(name, str) and (instead := _instead(name)):
        # How many outputs there were is no output.
        return value if instead is PAYLOAD and isinstance(value, (int, float)) else instead
    return _value(value, depth)


def _value(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        return text(value)
    if value is None or isinstance(value, (int, float)):
        return value
    if isinstance(value, (bytes, bytearray, memoryview)):
        return PAYLOAD
    if isinstance(value, Mapping):
        return PAYLOAD if depth >= MOST_DEPTH else {key: _field(key, one, depth + 1) for key, one in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return PAYLOAD if depth >= MOST_DEPTH else [_value(one, depth + 1) for one in value]
    return value
