"""A job's row as its owner may see it."""

from collections.abc import Mapping
from typing import Any

from inference.errors import JobNotFound
from inference.jobs.model import JobState, JobView, ResultRef

VIEW = (
    "j.id, j.service_id, j.state, j.priority, j.attempt AS attempts, j.submitted_at AS created_at, j.started_at, "
    "j.completed_at, j.deadline, j.batch_size, j.model_version, j.worker, j.error_code, j.error_message, "
    "j.metadata AS metadata_json, j.generation, j.asked_service_id"
)
"""The columns of a view; `result` comes from another table."""

RESULT = "x.body AS result, x.sha256 AS result_sha256, x.size_bytes AS result_bytes"
"""What a view has of `results x`."""

_APART = frozenset({"tenant_id", "result_sha256", "result_bytes"})


def view(row: Mapping[str, Any]) -> JobView:
    """The view that a row of these columns stands for; a `tenant_id` beside them is left out."""
    values = {name: value for name, value in row.items() if name not in _APART}
    values["state"] = JobState(values["state"])
    if (sha256 := row.get("result_sha256")) is not None:
        values |= {"result": None, "result_ref": ResultRef(sha256=sha256, size_bytes=row["result_bytes"])}
    elif values.get("result") is not None:
        values["result"] = bytes(values["result"])
    return JobView(**values)


def unknown(job_id: str) -> JobNotFound:
    """There is none, or none that the caller may know of."""
    return JobNotFound(f"There is no task {job_id}.", task_id=job_id)
