"""A submission as it arrives: read by msgspec in one pass, its tensors left as raw JSON."""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import msgspec
import orjson
from msgspec import UNSET, UnsetType

from inference import clock
from inference.errors import InvalidField, TooLarge
from inference.jobs import inputs, json_text, submit, trace
from inference.jobs.model import MAX_PRIORITY, JobSpec
from inference.notify import guard
from inference.tensors import TensorSpec

METADATA_LIMIT_BYTES = 4096
MAX_TIMEOUT_S = 86_400.0
CALLBACK_EVENTS = {"finished": 1, "started": 2}
UPLOAD_WAY_OUT = " Send it through POST /v1/uploads and refer to it with `input_ref`."

Parsed: TypeAlias = tuple[bytes, int, str]


class Options(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What a single task and a batch have in common. Raw() and UNSET mean: not written."""

    priority: int | UnsetType = UNSET
    timeout_s: float | UnsetType | None = UNSET
    deadline: str | UnsetType | None = UNSET
    callback_url: str | UnsetType | None = UNSET
    callback_events: list[str] | UnsetType | None = UNSET
    metadata: msgspec.Raw = msgspec.Raw()


class TaskIn(Options, forbid_unknown_fields=True, kw_only=True):
    """The body of T1."""

    input_data: msgspec.Raw = msgspec.Raw()
    input_ref: str | UnsetType = UNSET


class BatchIn(Options, forbid_unknown_fields=True, kw_only=True):
    """The body of T2."""

    input_data_list: list[msgspec.Raw]


_task_decoder = msgspec.json.Decoder(TaskIn)
_batch_decoder = msgspec.json.Decoder(BatchIn)


def read_task(text: bytes) -> TaskIn:
    """Raises MalformedJson, JsonTooDeep, DuplicateKey, UnknownField, InvalidField."""
    task = json_text.decode(_task_decoder, text)
    parts = [bytes(raw) for raw in (task.input_data, task.metadata) if raw]
    json_text.refuse_repeated_keys(text, len(parts) + written(task) + (task.input_ref is not UNSET), parts)
    return task


def read_batch(text: bytes, *, limit: int) -> BatchIn:
    """As `read_task`; also refuses an empty list, and one of more than `limit` inputs."""
    batch = json_text.decode(_batch_decoder, text)
    parts = [bytes(raw) for raw in batch.input_data_list]
    if batch.metadata:
        parts.append(bytes(batch.metadata))
    json_text.refuse_repeated_keys(text, 1 + bool(batch.metadata) + written(batch), parts)
    count = len(batch.input_data_list)
    if not count:
        raise InvalidField("`input_data_list` is empty; it must hold at least one input.", field="input_data_list")
    if count > limit:
        raise TooLarge(
            f"`input_data_list` holds {count} inputs; at most {limit} are accepted. Send several batches, or JSON "
            "Lines (Content-Type: application/x-ndjson), which may have any length.",
            limit=limit,
            count=count,
        )
    return batch


def written(options: Options) -> int:
    """How many of the options stand there, metadata apart."""
    return (
        (options.priority is not UNSET)
        + (options.timeout_s is not UNSET)
        + (options.deadline is not UNSET)
        + (options.callback_url is not UNSET)
        + (options.callback_events is not UNSET)
    )


def checked(
    options: Options,
    *,
    priority: int = 0,
    may_call: Callable[[], Sequence[guard.Network]] = tuple,
    is_keyed: bool = False,
) -> dict[str, Any]:
    """The keyword arguments of a JobSpec that `options` stand for. Raises InvalidField, TooLarge, CallbackRefused.

    `priority`: of a task that names none. `may_call`: networks that a webhook may reach though they are not public.
    `is_keyed`: a deadline that has passed is left to the commit, since the key may have an answer from before.
    """
    return {
        **_callback(options, may_call),
        "priority": _priority(options.priority) if options.priority is not UNSET else priority,
        "timeout_s": _timeout_s(options.timeout_s),
        "deadline": _deadline(options.deadline, may_be_past=is_keyed),
        "metadata": _metadata(options.metadata) if options.metadata else None,
    }


def parse_input(raw: msgspec.Raw, signature: tuple[TensorSpec, ...], *, limit_bytes: int) -> Parsed:
    """One inline input. Raises TooLarge, and what `inputs.parse` raises."""
    text = bytes(raw)
    if len(text) > limit_bytes:
        raise TooLarge(
            f"The input is {len(text)} bytes of JSON; at most {limit_bytes} are accepted inline.{UPLOAD_WAY_OUT}",
            limit_bytes=limit_bytes,
            size_bytes=len(text),
        )
    return inputs.parse(text, inputs=signature)


def spec(parsed: Parsed, options: dict[str, Any]) -> JobSpec:
    payload, rows, bucket = parsed
    return JobSpec(payload=payload, rows=rows, bucket=bucket, **options)


def _priority(value: int) -> int:
    if not 0 <= value <= MAX_PRIORITY:
        raise InvalidField(
            f"`priority` must be a whole number from 0 to {MAX_PRIORITY} ({MAX_PRIORITY} = most urgent), not {value}.",
            field="priority",
        )
    return value


def _timeout_s(value: float | UnsetType | None) -> float | None:
    if value is None or isinstance(value, UnsetType):
        return None
    if not 0 < value <= MAX_TIMEOUT_S:
        raise InvalidField(
            f"`timeout_s` must be more than 0 and at most {MAX_TIMEOUT_S:.0f} seconds, not {value:g}.",
            field="timeout_s",
        )
    return float(value)


def _deadline(text: str | UnsetType | None, *, may_be_past: bool) -> float | None:
    if text is None or isinstance(text, UnsetType):
        return None
    try:
        deadline = clock.from_iso(text)
    except (ValueError, OverflowError) as error:
        raise InvalidField(
            "`deadline` must be an ISO 8601 time such as 2026-11-20T12:00:00Z.", field="deadline"
        ) from error
    if deadline <= clock.epoch_s() and not may_be_past:
        raise submit.deadline_passed()
    return deadline


def _callback(options: Options, may_call: Callable[[], Sequence[guard.Network]]) -> dict[str, Any]:
    """Empty for the many tasks without one."""
    url = options.callback_url
    if url is UNSET or url is None:
        if isinstance(options.callback_events, list):
            raise InvalidField("`callback_events` goes with `callback_url` only.", field="callback_events")
        return {}
    guard.check_early(url, allowed=may_call)
    events = options.callback_events if isinstance(options.callback_events, list) else ["finished"]
    if not events or set(events) - CALLBACK_EVENTS.keys() or len(set(events)) < len(events):
        raise InvalidField("`callback_events` must name `finished`, `started` or both.", field="callback_events")
    return {"callback_url": url, "callback_events": sum(CALLBACK_EVENTS[event] for event in events)}


def _metadata(raw: msgspec.Raw) -> dict[str, Any]:
    text = bytes(raw)
    if len(text) > METADATA_LIMIT_BYTES:
        raise TooLarge(
            f"`metadata` is {len(text)} bytes of JSON; at most {METADATA_LIMIT_BYTES} are accepted.",
            limit_bytes=METADATA_LIMIT_BYTES,
            size_bytes=len(text),
        )
    value = json_text.read(text)
    if not isinstance(value, dict):
        raise InvalidField("`metadata` must be an object.", field="metadata")
    if trace.KEY in value:
        raise InvalidField(
            f"`metadata` may not have the key `{trace.KEY}`; send the header traceparent instead.", field="metadata"
        )
    try:
        orjson.dumps(value)
    except TypeError as error:
        raise InvalidField("`metadata` holds a number of more than 64 bits.", field="metadata") from error
    return value
