"""What a change changed, as the audit record may tell it: only what differs, in plain JSON, and never a secret."""

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any

HIDDEN = "[hidden]"
MAX_TEXT = 500
MAX_READ = 65_536
MAX_ITEMS = 100
MAX_DEPTH = 8
MAX_LENGTH = 16_384
EXACT = 2**53

_SECRET_PART = re.compile("passw|passphrase|secret|credential|authoriz|signature|private|cookie")
_SECRET_END = re.compile("(key|token|digest)s?$|^(pass|pwd)$")
_WORD = re.compile("[A-Z]?[a-z]+|[A-Z]+")
_URL = re.compile(r"://(\S+)")
_IN_QUERY = re.compile(r"(?<=[?&])([^=&\s]*)=[^&#\s]*")
_HEADER = re.compile(r"\b(bearer|basic)\s+\S+", re.IGNORECASE)
_OUR_KEY = re.compile("pst_([0-9a-f]{12})_[0-9a-f]+")

Json = dict[str, Any]


def difference(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> tuple[Json, Json]:
    """What `before` and `after` hold that the other does not, at every level of mappings; None is nothing at all.

    A value under a name that speaks of a secret is `[hidden]`; so are names and passwords in URLs, and keys of ours.
    Long texts, long lists and deep trees are cut. Whether something differs is asked before anything is hidden or cut.
    """
    old, new = _differing(_plain(before or {}, 0), _plain(after or {}, 0))
    return _bounded(_told(old)), _bounded(_told(new))


def _differing(before: Json, after: Json) -> tuple[Json, Json]:
    old: Json = {}
    new: Json = {}
    for name in [*before, *(name for name in after if name not in before)]:
        if name not in after:
            old[name] = before[name]
        elif name not in before:
            new[name] = after[name]
        elif isinstance(before[name], dict) and isinstance(after[name], dict):
            inner_old, inner_new = _differing(before[name], after[name])
            old |= {name: inner_old} if inner_old or inner_new else {}
            new |= {name: inner_new} if inner_old or inner_new else {}
        elif before[name] != after[name] or type(before[name]) is not type(after[name]):
            old[name], new[name] = before[name], after[name]
    return old, new


def _plain(value: Any, depth: int) -> Any:
    """Only what JSON has. Numbers that programs write in several ways become integers or texts."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, Enum):
        return _plain(value.value, depth)
    if isinstance(value, int):
        return value if abs(value) < EXACT else str(value)
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return HIDDEN
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        if depth >= MAX_DEPTH:
            return "[deeper]"
        return {safe_text(str(name)): _plain(inner, depth + 1) for name, inner in value.items()}
    if isinstance(value, Sequence | set | frozenset) and not isinstance(value, str):
        if depth >= MAX_DEPTH:
            return "[deeper]"
        return [_plain(inner, depth + 1) for inner in value]
    return str(value)


def _number(value: float) -> int | float | str:
    if value.is_integer() and abs(value) < EXACT:
        return int(value)
    return value if "e" not in (text := repr(value)) and "n" not in text else text


def _told(value: Any, name: str = "") -> Any:
    if value is None or isinstance(value, bool):
        return value
    if _is_secret(name):
        return HIDDEN
    if isinstance(value, dict):
        told = {inner: _told(value[inner], inner) for inner in list(value)[:MAX_ITEMS]}
        return told if len(value) <= MAX_ITEMS else {**told, "[more]": len(value) - MAX_ITEMS}
    if isinstance(value, list):
        told_items = [_told(inner) for inner in value[:MAX_ITEMS]]
        return told_items if len(value) <= MAX_ITEMS else [*told_items, f"[{len(value) - MAX_ITEMS} more]"]
    return safe_text(value) if isinstance(value, str) else value


def _bounded(told: Json) -> Json:
    length = len(json.dumps(told, ensure_ascii=False))
    return told if length <= MAX_LENGTH else {"[too long]": length}


def safe_text(text: str, *, most: int = MAX_TEXT) -> str:
    """The text without what a record may not hold: secrets in URLs, keys of ours, NUL, halves of characters; cut."""
    text = text[:MAX_READ].replace("\0", "").encode("utf-8", "replace").decode()
    text = _URL.sub(lambda found: f"://{_without_user(found[1])}", text)
    text = _IN_QUERY.sub(lambda found: f"{found[1]}={HIDDEN}" if _is_secret(found[1]) else found[0], text)
    text = _HEADER.sub(rf"\1 {HIDDEN}", text)
    text = _OUR_KEY.sub(rf"pst_\1_{HIDDEN}", text)
    return text if len(text) <= most else f"{text[: most - 3]}..."


def _without_user(rest_of_url: str) -> str:
    user, at, host = rest_of_url.rpartition("@")
    return f"{HIDDEN}@{host}" if at and user else rest_of_url


def _is_secret(name: str) -> bool:
    if name == "key_id":
        return False
    words = _WORD.findall(name)
    return bool(_SECRET_PART.search(name.lower())) or any(_SECRET_END.search(word.lower()) for word in words)
