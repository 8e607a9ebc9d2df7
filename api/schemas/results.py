"""What may be asked of the results of a service."""

import marshmallow as ma
from marshmallow import fields, validate

from api.schemas.common import ID_PATTERN, QueryNumber
from inference.clock import ISO_FORM
from inference.jobs.model import FINAL, MAX_PRIORITY


class ResultsQuery(ma.Schema):
    """Which results; without any of these, all."""

    status = fields.String(
        load_default=None,
        validate=validate.OneOf(sorted(FINAL), error="It must be one of {choices}."),
        metadata={"description": "Default: all that are over, however they ended"},
    )
    priority = QueryNumber(load_default=None, validate=validate.Range(0, MAX_PRIORITY, error="It must be from 0 to 9."))
    from_ = fields.String(
        load_default=None,
        data_key="from",
        metadata={"description": "ISO 8601; created at or after", "pattern": f"^{ISO_FORM}$"},
    )
    to = fields.String(
        load_default=None, metadata={"description": "ISO 8601; created before", "pattern": f"^{ISO_FORM}$"}
    )
    after = fields.String(
        load_default=None,
        metadata={"description": "The last `task_id` that came: go on behind it", "pattern": ID_PATTERN},
    )
    limit = QueryNumber(
        load_default=None,
        validate=validate.Range(1, error="It must be 1 or more."),
        metadata={"description": "At most so many; default: no end"},
    )
