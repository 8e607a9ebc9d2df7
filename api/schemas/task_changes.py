"""What the documentation says of the calls that change a task, and of a task's attempts."""

import marshmallow as ma
from marshmallow import fields, validate

from api.schemas.common import WholeNumber, id_field, time_field
from api.schemas.tasks import TaskError
from inference.jobs.model import MAX_PRIORITY


class PriorityIn(ma.Schema):
    priority = WholeNumber(
        required=True,
        validate=validate.Range(0, MAX_PRIORITY, error="It must be from 0 to 9."),
        metadata={"description": "9 = most urgent"},
    )


class Prioritised(ma.Schema):
    task_id = id_field("The task")
    status = fields.String(metadata={"example": "pending"})
    priority = fields.Integer()


class Again(Prioritised):
    generation = fields.Integer(metadata={"description": "Grows with each retry or requeue; 1 is the first"})


class Attempt(ma.Schema):
    generation = fields.Integer()
    attempt = fields.Integer(metadata={"description": "From 1, within its generation"})
    outcome = fields.String(
        metadata={
            "description": "`running`; the status that it ended the task with; `retried` when it failed and may be "
            "tried again; `lost` when its engine process died or fell silent"
        }
    )
    worker = fields.String(allow_none=True)
    claimed_at = time_field("When a worker took it")
    started_at = time_field("When it was handed to the engine")
    ended_at = time_field("When it ended")
    batch_size = fields.Integer(allow_none=True, metadata={"description": "Tasks in that engine call"})
    error = fields.Nested(TaskError, metadata={"description": "Of an attempt that went wrong only"})


class Attempts(ma.Schema):
    task_id = id_field("The task")
    status = fields.String()
    generation = fields.Integer(metadata={"description": "The newest"})
    attempts = fields.List(fields.Nested(Attempt()), metadata={"description": "Of all generations, oldest first"})
