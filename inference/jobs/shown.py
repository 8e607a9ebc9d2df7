"""A task as its owner sees it, on every way out: HTTP, long poll, events and webhooks."""

from typing import Any

import orjson

from inference import clock
from inference.jobs import trace
from inference.jobs.model import FINAL, JobState, JobView, ResultRef

RESULT_PATH = "/api/v1/inference/tasks/%s/result"


def reference(job_id: str, ref: ResultRef) -> dict[str, Any]:
    """Where a large result can be read, and what it is."""
    return {"url": RESULT_PATH % job_id, "size_bytes": ref.size_bytes, "sha256": ref.sha256}


def fields(view: JobView, *, with_result: bool) -> dict[str, Any]:
    """`result` only of a completed task, `error` only of one that went wrong; `latency` in seconds.

    A result that lies in the blob store is null, and `result_ref` says where to read it.

    `answered_by` only of one that a fallback took: `service_id` is the one that it was sent to. `cached` only of one
    that an answer which was kept has completed, `coalesced` of one that shared the run of another.
    """
    is_over = view.state in FINAL and view.completed_at is not None
    metadata = trace.shown(view.metadata_json)
    shown: dict[str, Any] = {
        "task_id": view.id,
        "service_id": view.asked_service_id or view.service_id,
        "status": view.state.value,
        "priority": view.priority,
        "latency": round(view.completed_at - view.created_at, 6) if is_over and view.completed_at else None,
        "created_at": clock.iso(view.created_at),
        "started_at": clock.iso(view.started_at),
        "completed_at": clock.iso(view.completed_at),
        "deadline": clock.iso(view.deadline),
        "generation": view.generation,
        "attempts": view.attempts,
        "batch_size": view.batch_size,
        "model_version": view.model_version,
        "worker": view.worker,
        "metadata": orjson.Fragment(metadata) if metadata else None,
    }
    if metadata is not view.metadata_json and (found := trace.trace_of(view.metadata_json)) is not None:
        shown["trace_id"] = found.trace_id
    if view.is_shared:
        shown["coalesced" if view.worker else "cached"] = True
    if view.asked_service_id is not None:
        shown["answered_by"] = {"service_id": view.service_id, "model_version": view.model_version}
    if with_result and view.state is JobState.COMPLETED and view.result is not None:
        shown["result"] = orjson.Fragment(view.result)
    if with_result and view.result_ref is not None:
        shown |= {"result": None, "result_ref": reference(view.id, view.result_ref)}
    if view.error_code is not None and view.state is not JobState.COMPLETED:
        shown["error"] = {"code": view.error_code, "message": view.error_message or view.error_code}
    return shown
