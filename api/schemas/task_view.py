"""A task as its owner sees it: one pure function, used by Flask and by the live process."""

import re
from collections.abc import Iterable
from typing import Any

import orjson

from api import query
from inference import clock
from inference.errors import InvalidField
from inference.jobs.model import FINAL, JobState, JobView

_SECONDS = re.compile("[0-9]+([.][0-9]+)?([eE][+-]?[0-9]+)?")
"""A number of JSON that is not negative; Python's float would also read `nan`, `inf` and `1_0`."""


def render(view: JobView) -> bytes:
    """The body of `GET /tasks/{id}`. The result is spliced in as the JSON text that was stored."""
    return orjson.dumps(fields(view, with_result=True))


def render_page(views: list[JobView], following: str | None) -> bytes:
    """`{tasks, next?}`, without results."""
    page: dict[str, Any] = {"tasks": [fields(view, with_result=False) for view in views]}
    if following is not None:
        page["next"] = following
    return orjson.dumps(page)


def fields(view: JobView, *, with_result: bool) -> dict[str, Any]:
    """`result` only of a completed task, `error` only of one that went wrong; `latency` in seconds."""
    is_over = view.state in FINAL and view.completed_at is not None
    shown: dict[str, Any] = {
        "task_id": view.id,
        "service_id": view.service_id,
        "status": view.state.value,
        "priority": view.priority,
        "latency": round(view.completed_at - view.created_at, 6) if is_over and view.completed_at else None,
        "created_at": clock.iso(view.created_at),
        "started_at": clock.iso(view.started_at),
        "completed_at": clock.iso(view.completed_at),
        "deadline": clock.iso(view.deadline),
        "attempts": view.attempts,
        "batch_size": view.batch_size,
        "model_version": view.model_version,
        "worker": view.worker,
        "metadata": orjson.Fragment(view.metadata_json) if view.metadata_json else None,
    }
    if with_result and view.state is JobState.COMPLETED and view.result is not None:
        shown["result"] = orjson.Fragment(view.result)
    if view.error_code is not None and view.state is not JobState.COMPLETED:
        shown["error"] = {"code": view.error_code, "message": view.error_message or view.error_code}
    return shown


def wait_s(pairs: Iterable[tuple[str, str]], *, limit_s: float) -> float:
    """The seconds that the query asks to wait; more than the limit counts as the limit.

    Raises InvalidField, UnknownField.
    """
    text = query.read(pairs, ("wait",)).get("wait", "0")
    if not _SECONDS.fullmatch(text):
        raise InvalidField(f"The query parameter `wait` must be seconds, 0 to {limit_s:g}.", field="wait")
    return min(float(text), limit_s)
