"""Reads JSON from strangers: strict, shallow, no key twice; every refusal is one clear sentence."""

import json
import math
import re
from collections import Counter
from collections.abc import Iterable
from typing import Any, TypeVar

import msgspec

from inference.errors import DuplicateKey, InvalidField, JsonTooDeep, MalformedJson, UnknownField

MAX_DEPTH = 32

T = TypeVar("T")

_KEY = re.compile(rb'"\s*:')
_plain = msgspec.json.Decoder()
_unread = msgspec.json.Decoder(msgspec.Raw)
_UNKNOWN = re.compile(r"unknown field `(?P<name>.*?)`")
_AT = re.compile(r"\(byte (\d+)\)")
_TOO_LARGE = "Number out of range"
_MISSING = re.compile(r"missing required field `(?P<name>.*?)`")
_WRONG = re.compile(r"Expected `(?P<want>.*?)`, got `(?P<got>.*?)`(?: - at `\$\.?(?P<path>.*)`)?$")
_WORDS = {
    "int": "a whole number",
    "float": "a number",
    "str": "a text",
    "bool": "true or false",
    "object": "an object",
    "array": "a list",
    "null": "null",
}


def read(text: bytes) -> Any:
    """The value that `text` holds, for small bodies: every level is checked for depth and repeated keys.

    Raises MalformedJson, JsonTooDeep, DuplicateKey.
    """
    value = decode(_plain, text)
    refuse_repeated_keys(text, count_keys(value))
    return value


def decode(decoder: "msgspec.json.Decoder[T]", text: bytes | msgspec.Raw) -> T:
    """What `decoder` makes of `text`; its refusals become ours. Repeated keys are not looked for.

    Raises MalformedJson, JsonTooDeep, UnknownField, InvalidField.
    """
    try:
        return decoder.decode(text)
    except RecursionError as error:
        raise _too_deep() from error
    except msgspec.ValidationError as error:
        _refuse_malformed(text)
        if _TOO_LARGE in str(error) and (path := _too_large(text)) is not None:
            shown = short(path or "body")
            raise InvalidField(f"The field `{shown}` is a number that is too large.", field=shown) from error
        raise _invalid(str(error), getattr(decoder.type, "__struct_encode_fields__", ())) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _malformed(error, text) from error


def _too_large(text: bytes | msgspec.Raw) -> str | None:
    """Where the first number stands that would be infinite, with dots; None if there is none."""
    waiting: list[tuple[str, Any]] = [("", json.loads(bytes(text)))]
    while waiting:
        path, value = waiting.pop()
        if isinstance(value, float) and not math.isfinite(value):
            return path
        inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        waiting += [(f"{path}.{name}" if path else str(name), one) for name, one in reversed([*inner])]
    return None


def _refuse_malformed(text: bytes | msgspec.Raw) -> None:
    """What is no JSON at all is told so, whatever else is wrong with its beginning."""
    try:
        _unread.decode(text)
    except RecursionError as error:
        raise _too_deep() from error
    except msgspec.DecodeError as error:
        raise _malformed(error, text) from error


def count_keys(value: Any, depth: int = 0) -> int:
    """How many keys all objects in `value` have together. Raises JsonTooDeep beyond MAX_DEPTH levels."""
    if depth > MAX_DEPTH:
        raise _too_deep()
    if type(value) is dict:
        return len(value) + sum(count_keys(inner, depth + 1) for inner in value.values())
    if type(value) is list:
        return sum(count_keys(inner, depth + 1) for inner in value)
    return 0


def short(text: str) -> str:
    """A stranger's text, short enough to be told back."""
    return text if len(text) <= 80 else f"{text[:77]}..."


def refuse_repeated_keys(text: bytes, keys: int, apart_from: Iterable[bytes] = ()) -> None:
    """Raises DuplicateKey when `text` writes more keys than the `keys` that were found in what it was read to.

    `apart_from`: stretches of `text` that were not counted. Cheap: a key is a string before a colon, so a text
    with no more colons than keys repeats none; only where the counts differ is the text read again, slowly.
    """
    apart = tuple(apart_from)
    if text.count(b":") - sum(part.count(b":") for part in apart) == keys:
        return
    if len(_KEY.findall(text)) - sum(len(_KEY.findall(part)) for part in apart) == keys:
        return
    try:
        json.loads(text, object_pairs_hook=_unique)
    except RecursionError as error:
        raise _too_deep() from error
    except ValueError as error:
        raise _malformed(error) from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = short(next(name for name, count in Counter(names).items() if count > 1))
        raise DuplicateKey(f"The key `{twice}` stands twice in the same JSON object; keep one.", key=twice)
    return found


def _too_deep() -> JsonTooDeep:
    return JsonTooDeep(f"The JSON is nested more than {MAX_DEPTH} levels deep.", limit=MAX_DEPTH)


def _malformed(error: Exception, text: bytes | msgspec.Raw = b"") -> MalformedJson:
    if isinstance(error, UnicodeDecodeError):
        reason = "it is not UTF-8"
    elif "truncated" in str(error):
        reason = "it ends too early"
    else:
        reason = str(error).removeprefix("JSON is malformed: ")
        at = _AT.search(reason)
        if at and bytes(text).startswith((b"NaN", b"Infinity"), int(at[1])):
            reason += "; NaN and Infinity are no JSON"
    return MalformedJson(f"The body is not valid JSON: {reason}.", reason=reason)


def _invalid(text: str, fields: Iterable[str]) -> InvalidField | UnknownField:
    """One of msgspec's sentences as one of ours; `fields` are those of the outermost object."""
    if match := _UNKNOWN.search(text):
        name = short(match["name"])
        known = ", ".join(f"`{field}`" for field in sorted(fields)) if " - at `" not in text else ""
        return UnknownField(f"There is no field `{name}` here{known and '; known: '}{known}.", field=name)
    if match := _MISSING.search(text):
        name = match["name"]
        return InvalidField(f"The field `{name}` is missing.", field=name)
    if match := _WRONG.match(text):
        path = short(match["path"] or "body")
        want, got = _words(match["want"]), _words(match["got"])
        subject = f"The field `{path}`" if match["path"] else "The body"
        return InvalidField(f"{subject} must be {want}, not {got}.", field=path, expected=want, got=got)
    return InvalidField(f"The body cannot be accepted: {short(text)}.", field="body")


def _words(kinds: str) -> str:
    return " or ".join(_WORDS.get(kind.strip(), kind.strip()) for kind in kinds.split("|"))
