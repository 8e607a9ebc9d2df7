"""Tasks and their results as files: a table (CSV, Parquet), one JSON array, or JSON Lines; written piece by piece.

A file that could not be finished shows it: its last row or line is the error, and the array is left open.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import structlog

from api import lines, parquet, table
from api.errors import JSON, answer
from inference.errors import PenstockError
from inference.jobs import trace
from inference.jobs.model import JobState, JobView
from inference.jobs.shown import fields, reference

log = structlog.get_logger(__name__)

COLUMNS = (
    "task_id",
    "service_id",
    "status",
    "priority",
    "latency",
    "created_at",
    "started_at",
    "completed_at",
    "deadline",
    "generation",
    "attempts",
    "batch_size",
    "model_version",
    "worker",
    "error_code",
    "error_message",
    "metadata",
    "result",
)
"""Of the table. New ones come last, so that a reader by position goes on reading right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """How a file is written: its beginning, what goes between two tasks, a task, its end, and what an error leaves."""

    content_type: str
    begin: bytes
    between: bytes
    one: Callable[[JobView], bytes]
    end: bytes
    broken: Callable[[PenstockError], bytes]


def written(form: Form, pieces: Iterator[Sequence[JobView]]) -> Iterator[bytes]:
    """The file, a piece for each of `pieces`: never more of it is held than one of them."""
    ahead = form.begin
    gap = b""
    try:
        for piece in pieces:
            if piece:
                yield ahead + gap + form.between.join([form.one(view) for view in piece])
                ahead, gap = b"", form.between
        yield ahead + form.end
    except PenstockError as error:
        yield ahead + gap + form.broken(error)


def _line(view: JobView) -> bytes:
    return orjson.dumps(fields(view, with_result=True), option=orjson.OPT_APPEND_NEWLINE)


def _item(view: JobView) -> bytes:
    return orjson.dumps(fields(view, with_result=True))


def _flat(view: JobView) -> dict[str, Any]:
    """A value for each column, its result as it is stored."""
    shown = fields(view, with_result=False)
    error = shown.pop("error", {})
    result = view.result if view.state is JobState.COMPLETED else None
    if view.result_ref is not None:
        result = orjson.dumps({"result_ref": reference(view.id, view.result_ref)})
    more = {"error_code": error.get("code"), "error_message": error.get("message"), "result": result}
    return shown | more | {"metadata": trace.shown(view.metadata_json)}


def _row(view: JobView) -> bytes:
    values = _flat(view)
    if values["result"] is not None:
        values["result"] = values["result"].decode()
    return _cells(values)


def _cells(values: Mapping[str, object]) -> bytes:
    return table.row(values.get(column) for column in COLUMNS).encode()


_TIMES = ("created_at", "started_at", "completed_at", "deadline")
_NUMBERS = ("priority", "generation", "attempts", "batch_size")
PARQUET: Mapping[str, parquet.Type] = {
    **dict.fromkeys(COLUMNS, parquet.Type.TEXT),
    **dict.fromkeys(_TIMES, parquet.Type.TIME),
    **dict.fromkeys(_NUMBERS, parquet.Type.INTEGER),
    "latency": parquet.Type.NUMBER,
}


def as_parquet(pieces: Iterator[Sequence[JobView]]) -> Iterator[bytes]:
    """The table with its types; metadata and result are JSON texts. One that could not be finished has no footer."""
    try:
        yield from parquet.written(PARQUET, (_typed(view) for piece in pieces for view in piece))
    except PenstockError as error:
        log.warning("export_broken", reason=error.message)
        yield b"\n" + _error(error) + b"\n"


def _typed(view: JobView) -> list[Any]:
    values = _flat(view) | {name: getattr(view, name) for name in _TIMES}
    found = [values.get(column) for column in PARQUET]
    return [value.encode() if isinstance(value, str) else value for value in found]


def _error(error: PenstockError) -> bytes:
    return b'{"error":' + answer(error).body + b"}"


def _error_row(error: PenstockError) -> bytes:
    return _cells({"status": "incomplete", "error_code": error.code, "error_message": str(error)})


def _heading(columns: Iterable[str]) -> bytes:
    return table.row(columns).encode()


FORMS: Mapping[str, Form] = {
    "csv": Form(
        content_type=table.CONTENT_TYPE, begin=_heading(COLUMNS), between=b"", one=_row, end=b"", broken=_error_row
    ),
    "json": Form(content_type=JSON, begin=b"[\n", between=b",\n", one=_item, end=b"\n]\n", broken=_error),
    "jsonl": Form(
        content_type=lines.KIND, begin=b"", between=b"", one=_line, end=b"", broken=lambda error: _error(error) + b"\n"
    ),
}
