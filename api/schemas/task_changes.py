"""What the documentation says of the calls that change a task, and of a task's attempts."""

import marshmallow as ma
from marshmallow import fields, validate

from api.schemas.common import A_TIME, AN_ID, ID_PATTERN, Flag, WholeNumber, id_field, time_field
from api.schemas.tasks import TaskError
from inference.clock import ISO_FORM
from inference.jobs.model import MAX_PRIORITY

MOST_IDS = 10_000


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


class CancelFilter(ma.Schema):
    status = fields.String(
        validate=validate.OneOf(["pending", "running"], error="It must be one of {choices}."),
        metadata={"description": "Only those in this status; others cannot be cancelled"},
    )
    priority = WholeNumber(validate=validate.Range(0, MAX_PRIORITY, error="It must be from 0 to 9."))
    created_from = fields.String(
        metadata={"description": "ISO 8601; created at or after", "pattern": f"^{ISO_FORM}$", "example": A_TIME}
    )
    created_to = fields.String(
        metadata={"description": "ISO 8601; created before", "pattern": f"^{ISO_FORM}$", "example": A_TIME}
    )
    task_ids = fields.List(
        fields.String(metadata={"pattern": ID_PATTERN}),
        validate=validate.Length(1, MOST_IDS, error="It must hold 1 to 10,000 ids."),
        metadata={"description": "Only these; as a batch was answered, say", "example": [AN_ID]},
    )


class CancelManyIn(ma.Schema):
    """One of the two, so that nobody cancels everything by leaving something out."""

    filter = fields.Nested(
        CancelFilter(),
        metadata={"description": "What all of them must fit; at least one condition", "minProperties": 1},
    )
    all = Flag(
        validate=validate.Equal(True, error="It must be true, or left out."),
        metadata={"description": "Every task of the service that is not over", "enum": [True]},
    )


CANCEL_MANY = {"allOf": [CancelManyIn()], "oneOf": [{"required": ["filter"]}, {"required": ["all"]}]}
CANCEL_EXAMPLE = {"filter": {"status": "pending", "priority": 0}}


class CancelledMany(ma.Schema):
    cancelled = fields.Integer(metadata={"description": "Tasks that waited; they will not run"})
    requested = fields.Integer(metadata={"description": "Running ones whose workers are being told"})
    complete = fields.Boolean(
        metadata={"description": "false when the time for one call was over first: send it again to go on"}
    )


CANCELLED_EXAMPLE = {"cancelled": 120, "requested": 4, "complete": True}


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


EVENT_STREAM = "text/event-stream"
LAST_EVENT = {
    "name": "Last-Event-ID",
    "in": "header",
    "required": False,
    "schema": {"type": "string"},
    "description": "The id of the last event that was heard; only what came after it is told",
}
_EVENT = {
    "type": "object",
    "description": "Each event of the stream",
    "properties": {name: {"type": "string"} for name in ("id", "event", "data")},
    "required": ["id", "event", "data"],
}
EVENTS = {
    "200": {
        "description": "`event` is pending, running, retried, lost, or the status the task ended with; `data` is JSON: "
        "task_id, event, generation, attempt, at, worker, and error where an attempt went wrong",
        "content": {
            EVENT_STREAM: {
                "schema": _EVENT,
                "example": f'id: 1.1.completed\nevent: completed\ndata: {{"task_id":"{AN_ID}","event":"completed",'
                f'"generation":1,"attempt":1,"at":"{A_TIME}","worker":"digits.0@host"}}\n\n',
            }
        },
    },
    "204": {"description": "Everything was told before, and the task is over: do not ask again"},
}
