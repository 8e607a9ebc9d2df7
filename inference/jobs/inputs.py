"""One input_data, from JSON text to a packed payload that fits the model's signature."""

import base64
import binascii
import io
import math
import zipfile
from collections.abc import Mapping
from tokenize import TokenError
from typing import Any, NoReturn

import msgspec
import numpy as np

from inference.errors import InvalidTensor, MalformedJson, TooLarge
from inference.jobs import json_text
from inference.tensors import DTYPES, Array, TensorSpec, pack

REFERENCE_LIMIT_BYTES = 64 << 20
NPY = b"\x93NUMPY"
HEADER_BYTES = 512
"""Of one array of numbers; NumPy reads the header as Python, and a long one keeps it busy."""
UNREADABLE = (zipfile.BadZipFile, ValueError, KeyError, EOFError, OSError, MemoryError, RecursionError, TokenError)

_decoder = msgspec.json.Decoder()
_FORMS = (frozenset({"data", "dtype", "shape"}), frozenset({"b64", "dtype", "shape"}))


def parse(raw: bytes, *, inputs: tuple[TensorSpec, ...]) -> tuple[bytes, int, str]:
    """The packed payload, its rows, and its bucket, of the JSON text of one `input_data`.

    `raw` maps each tensor's name to a nested list, `{"data","dtype","shape"}` or `{"b64","dtype","shape"}`.
    Raises MalformedJson, JsonTooDeep, DuplicateKey, and InvalidTensor, which names the tensor.
    """
    values = json_text.decode(_decoder, raw)
    if type(values) is not dict:
        raise InvalidTensor(
            f"`input_data` must be an object that maps tensor names to values, not {_kind(values)}; "
            f"this model takes {_signature(inputs)}.",
            expected="an object",
            got=_kind(values),
        )
    keys = len(values) + sum(len(value) for value in values.values() if type(value) is dict)
    json_text.refuse_repeated_keys(raw, keys)
    _check_names(values, inputs)
    has_booleans = b"true" in raw or b"false" in raw
    return settle({spec.name: _to_array(spec, values[spec.name], has_booleans) for spec in inputs}, inputs)


def parse_file(content: bytes, *, inputs: tuple[TensorSpec, ...]) -> tuple[bytes, int, str]:
    """As `parse`, for a file: the JSON of `input_data`, a NumPy `.npz` with one array per tensor, or one `.npy`.

    A `.npy` names no tensor: it is for models that take one.
    """
    if content.startswith(NPY):
        array = _read_npy(content, inputs)
        return settle({inputs[0].name: cast(inputs[0], array)}, inputs)
    if not content.startswith(b"PK"):
        return _parse_json_file(content, inputs)
    arrays = _read_npz(content)
    _check_names(arrays, inputs)
    return settle({spec.name: cast(spec, arrays[spec.name]) for spec in inputs}, inputs)


def _parse_json_file(content: bytes, inputs: tuple[TensorSpec, ...]) -> tuple[bytes, int, str]:
    try:
        return parse(content, inputs=inputs)
    except MalformedJson as error:  # it speaks of the body, which names the file and is well
        raise InvalidTensor(
            f"The input is no .npz, no .npy and no JSON: {error.details['reason']}.", got="an unreadable file"
        ) from error


def settle(arrays: dict[str, Array], inputs: tuple[TensorSpec, ...]) -> tuple[bytes, int, str]:
    """Payload, rows and bucket. Puts the batch axis first everywhere, and sees that all tensors agree on its length."""
    rows, first = 0, ""
    buckets: list[str] = []
    for spec in inputs:
        array = arrays[spec.name] = _fit(spec, arrays[spec.name])
        if not first:
            rows, first = len(array), spec.name
        elif len(array) != rows:
            _refuse(
                spec,
                f"brings {len(array)} rows and tensor `{first}` brings {rows}; all tensors of a task bring the same",
                expected=f"{rows} rows",
                got=f"{len(array)} rows",
            )
        if None in spec.shape[1:] and not spec.is_ragged:
            buckets.append("x".join(map(str, array.shape[1:])))
    return pack(arrays), rows, ";".join(buckets)


def _check_names(values: Mapping[str, Any], inputs: tuple[TensorSpec, ...]) -> None:
    for spec in inputs:
        if spec.name not in values:
            _refuse(spec, f"is missing; this model takes {_signature(inputs)}", expected=_form(spec), got="nothing")
    if len(values) > len(inputs):
        known = {spec.name for spec in inputs}
        stranger = json_text.short(next(name for name in values if name not in known))
        raise InvalidTensor(
            f"The model has no tensor `{stranger}`; it takes {_signature(inputs)}.",
            tensor=stranger,
            expected=_signature(inputs),
            got=stranger,
        )


def _to_array(spec: TensorSpec, value: Any, has_booleans: bool) -> Array:
    if type(value) is dict:
        return cast(spec, _read_form(spec, value, has_booleans))
    return cast(spec, _read_list(spec, value, has_booleans))


def _read_list(spec: TensorSpec, value: Any, has_booleans: bool) -> Array:
    """NumPy's reading of a nested list, without its silent conversions of texts and booleans."""
    try:
        array = np.asarray(value)
    except ValueError:
        json_text.count_keys(value)
        _refuse(
            spec, f"is ragged: its lists differ in length; expected {_form(spec)}", expected=_form(spec), got="ragged"
        )
    stranger = None
    if array.dtype.kind not in "fiub":
        json_text.count_keys(value)
        stranger = _first_stranger(value, (int, float, bool)) or "a number too large for any dtype"
    elif has_booleans and spec.dtype != "bool":
        stranger = "a boolean" if _first_stranger(value, (int, float)) else None
    if stranger:
        _refuse(spec, f"holds {stranger}; expected {_form(spec)}", expected=_form(spec), got=stranger)
    return array


def _first_stranger(value: Any, allowed: tuple[type, ...]) -> str | None:
    """What the first leaf is whose exact type is not allowed."""
    if type(value) is list:
        return next((found for inner in value if (found := _first_stranger(inner, allowed))), None)
    return None if type(value) in allowed else _kind(value)


def _read_form(spec: TensorSpec, value: dict[str, Any], has_booleans: bool) -> Array:
    """`{"data","dtype","shape"}` or `{"b64","dtype","shape"}`."""
    if value.keys() not in _FORMS:
        names = json_text.short(", ".join(value) or "nothing")
        _refuse(
            spec,
            f'has the fields {names}; write a nested list, {{"data","dtype","shape"}} or {{"b64","dtype","shape"}}',
            expected="data or b64, with dtype and shape",
            got=names,
        )
    dtype, shape = value["dtype"], value["shape"]
    if type(dtype) is not str or dtype not in DTYPES:
        known, short = ", ".join(sorted(DTYPES)), json_text.short(repr(dtype))
        _refuse(spec, f"has the dtype {short}; known: {known}", expected=spec.dtype, got=short)
    if type(shape) is not list or len(shape) > json_text.MAX_DEPTH or not all(map(_is_length, shape)):
        _refuse(
            spec,
            "has a `shape` that is no short list of whole numbers; write one such as [1, 3]",
            expected=_form(spec),
            got=json_text.short(str(shape)),
        )
    as_said = TensorSpec(name=spec.name, dtype=dtype, shape=tuple(shape))
    if "b64" in value:
        array = _read_b64(as_said, value["b64"])
    else:
        array = cast(as_said, _read_list(as_said, value["data"], has_booleans))
    if array.size != math.prod(shape):
        _refuse(
            spec,
            f"says shape {json_text.short(str(shape))} and brings {array.size} values",
            expected=f"{math.prod(shape)} values",
            got=f"{array.size} values",
        )
    return array.reshape(shape)


def _is_length(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 31


def _read_b64(spec: TensorSpec, text: Any) -> Array:
    try:
        content = base64.b64decode(text, validate=True)
    except (binascii.Error, TypeError, ValueError):
        _refuse(spec, "has a `b64` that is not base64", expected="base64", got=_kind(text))
    dtype = np.dtype(spec.dtype).newbyteorder("<")
    expected = math.prod(length or 0 for length in spec.shape) * dtype.itemsize
    if len(content) != expected:
        _refuse(
            spec,
            f"says {spec.dtype} {list(spec.shape)}, which is {expected} bytes, and its `b64` holds {len(content)}",
            expected=f"{expected} bytes",
            got=f"{len(content)} bytes",
        )
    array = np.frombuffer(content, dtype=np.uint8 if spec.dtype == "bool" else dtype)
    if spec.dtype != "bool":
        return array
    if array.size and array.max() > 1:
        _refuse(spec, "is bool, and its bytes are not all 0 or 1", expected="0 or 1", got=str(array.max()))
    return array.astype(np.bool_)


def cast(spec: TensorSpec, array: Array) -> Array:
    """Integers pass for floats, other widths where every value fits; nothing else is converted."""
    want = np.dtype(spec.dtype)
    if array.dtype == want:
        return array
    have, kind = array.dtype.kind, want.kind
    if array.size and (have == "b" or kind == "b" or (kind in "iu" and have not in "iu") or have not in "fiu"):
        _refuse(
            spec, f"holds {array.dtype.name} values; expected {_form(spec)}", expected=_form(spec), got=array.dtype.name
        )
    if kind in "iu" and array.size:
        low, high, limits = int(array.min()), int(array.max()), np.iinfo(want)
        if low < limits.min or high > limits.max:
            got = low if low < limits.min else high
            _refuse(
                spec,
                f"holds {got}, which does not fit {want.name} ({limits.min} to {limits.max})",
                expected=_form(spec),
                got=str(got),
            )
    try:
        with np.errstate(over="raise"):
            return array.astype(want)
    except FloatingPointError:
        _refuse(spec, f"holds numbers too large for {want.name}", expected=_form(spec), got="too large")


def _fit(spec: TensorSpec, array: Array) -> Array:
    """The array with its batch axis. Raises InvalidTensor when it has another shape than the model takes."""
    came = list(array.shape)
    if array.ndim == len(spec.shape) - 1:
        array = array[np.newaxis]
    fits = array.ndim == len(spec.shape) and all(
        want is None or want == have for want, have in zip(spec.shape[1:], array.shape[1:], strict=True)
    )
    if not fits:
        _refuse(spec, f"came as shape {came}; expected {_form(spec)}", expected=_form(spec), got=str(came))
    if not array.size:
        _refuse(spec, f"is empty (shape {came}); expected {_form(spec)}", expected=_form(spec), got=str(came))
    most = spec.shape[0]
    if most is not None and len(array) > most:
        _refuse(
            spec,
            f"brings {len(array)} rows, and this model takes at most {most} at once; send them as several tasks",
            expected=f"at most {most} rows",
            got=f"{len(array)} rows",
        )
    return array


def _read_npz(content: bytes) -> dict[str, Array]:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
        if size > REFERENCE_LIMIT_BYTES:
            raise TooLarge(
                f"The uploaded input unpacks to {size} bytes; at most {REFERENCE_LIMIT_BYTES} are accepted.",
                limit_bytes=REFERENCE_LIMIT_BYTES,
                size_bytes=size,
            )
        with np.load(io.BytesIO(content), allow_pickle=False, max_header_size=HEADER_BYTES) as arrays:
            return {name: _little_endian(arrays[name]) for name in arrays.files}
    except UNREADABLE as error:
        raise InvalidTensor(f"The uploaded input is no readable .npz file: {error}.", got="unreadable .npz") from error


def _read_npy(content: bytes, inputs: tuple[TensorSpec, ...]) -> Array:
    if len(inputs) != 1:
        raise InvalidTensor(
            f"An .npy file names no tensor, and this model takes {_signature(inputs)}; send an .npz.",
            expected=_signature(inputs),
            got=".npy",
        )
    try:
        array = np.load(io.BytesIO(content), allow_pickle=False, max_header_size=HEADER_BYTES)
    except UNREADABLE as error:
        raise InvalidTensor(f"The input is no readable .npy file: {error}.", got="unreadable .npy") from error
    return _little_endian(array)


def _little_endian(array: Array) -> Array:
    """In C order and the byte order that payloads have."""
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))


def _refuse(spec: TensorSpec, what: str, *, expected: str, got: str) -> NoReturn:
    raise InvalidTensor(f"Tensor `{spec.name}` {what}.", tensor=spec.name, expected=expected, got=got)


def _signature(inputs: tuple[TensorSpec, ...]) -> str:
    return ", ".join(f"`{spec.name}` ({_form(spec)})" for spec in inputs)


def _form(spec: TensorSpec) -> str:
    """A dtype and shape as people write it: `float32 [batch, 3, any]`."""
    lengths = ["batch", *("any" if length is None else str(length) for length in spec.shape[1:])]
    return f"{spec.dtype} [{', '.join(lengths)}]"


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "a boolean"
    names = {str: "a text", dict: "an object", list: "a list", type(None): "null", int: "a number", float: "a number"}
    return names.get(type(value), type(value).__name__)
