"""Tasks and their results as files: a table, one JSON array, or JSON Lines; written piece by piece.

A file that could not be finished shows it: its last row or line is the error, and the array is left open.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import orjson

from api import lines, table
from api.errors import JSON, answer
from inference.errors import PenstockError
from inference.jobs import trace
from inference.jobs.model import JobState, JobView
from inference.jobs.shown import fields

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


def _row(view: JobView) -> bytes:
    shown = fields(view, with_result=False)
    error = shown.pop("error", {})
    is_completed = view.state is JobState.COMPLETED
    result = view.result.decode() if is_completed and view.result is not None else None
    more = {"error_code": error.get("code"), "error_message": error.get("message"), "result": result}
    return _cells(shown | more | {"metadata": trace.shown(view.metadata_json)})


def _cells(values: Mapping[str, object]) -> bytes:
    return table.row(values.get(column) for column in COLUMNS).encode()


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
