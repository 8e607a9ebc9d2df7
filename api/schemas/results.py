"""What may be asked of the results of a service."""

from marshmallow import fields, validate

from api.schemas.common import ID_PATTERN, QueryNumber
from api.schemas.task_filter import TaskFilter
from inference.jobs.model import FINAL


class _OverFilter(TaskFilter):
    """Which results; without any of these, all."""

    status = fields.String(
        load_default=None,
        validate=validate.OneOf(sorted(FINAL), error="It must be one of {choices}."),
        metadata={"description": "Default: all that are over, however they ended"},
    )


class ExportQuery(_OverFilter):
    """Which results, and what the file is to be."""

    format = fields.String(
        load_default="csv",
        validate=validate.OneOf(["csv", "json", "jsonl", "parquet"], error="It must be one of {choices}."),
        metadata={"description": "csv, parquet: a table; json: one array; jsonl: an object a line"},
    )


class ResultsQuery(_OverFilter):
    """Which results, from where on and how many."""

    after = fields.String(
        load_default=None,
        metadata={"description": "The last `task_id` that came: go on behind it", "pattern": ID_PATTERN},
    )
    limit = QueryNumber(
        load_default=None,
        validate=validate.Range(1, error="It must be 1 or more."),
        metadata={"description": "At most so many; default: no end"},
    )
