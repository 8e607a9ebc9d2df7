"""Which tasks a query asks for, the same wherever tasks or their results are listed."""

from typing import Any

import marshmallow as ma
from marshmallow import fields, validate

from api import times
from api.schemas.common import QueryNumber, Text
from inference.clock import ISO_FORM
from inference.jobs.model import MAX_PRIORITY, JobFilter, JobState


class TaskFilter(ma.Schema):
    """What every such query accepts; each adds a `status` of its own."""

    priority = QueryNumber(load_default=None, validate=validate.Range(0, MAX_PRIORITY, error="It must be from 0 to 9."))
    from_ = fields.String(
        load_default=None,
        data_key="from",
        metadata={"description": "ISO 8601; created at or after", "pattern": f"^{ISO_FORM}$"},
    )
    to = fields.String(
        load_default=None, metadata={"description": "ISO 8601; created before", "pattern": f"^{ISO_FORM}$"}
    )
    model_version = Text(load_default=None, metadata={"description": "Of the model that took it"})
    worker = Text(load_default=None, metadata={"description": "Whose it is or was, as the task shows it"})
    error_code = Text(load_default=None, metadata={"description": "The code that it ended with"})


def wanted(
    asked: dict[str, Any], service_id: str | None, *, before_id: str | None = None, limit: int = 100
) -> JobFilter:
    """The filter that a checked query describes. Raises InvalidField for what is no time, and for an empty range."""
    since, until = times.range_of(asked["from_"], asked["to"])
    return JobFilter(
        service_id=service_id,
        state=JobState(asked["status"]) if asked["status"] else None,
        priority=asked["priority"],
        created_from=since,
        created_to=until,
        model_version=asked["model_version"],
        worker=asked["worker"],
        error_code=asked["error_code"],
        is_oldest_first=asked.get("sort") == "oldest",
        before_id=before_id,
        limit=limit,
    )
