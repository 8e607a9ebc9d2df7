"""What the documentation says of tasks, and the queries that list them."""

import marshmallow as ma
from marshmallow import fields, validate

from api.schemas.common import A_TIME, AN_ID, ANOTHER_ID, PageIn, id_field, next_field, time_field
from inference.jobs.model import MAX_PRIORITY, JobState

INPUT_DATA = {"image": [[0.0, 0.5], [1.0, 0.25]]}
SUBMIT_EXAMPLE = {"input_data": INPUT_DATA, "priority": 5}
BATCH_EXAMPLE = {"input_data_list": [INPUT_DATA, INPUT_DATA], "priority": 1}
ACCEPTED_EXAMPLE = {"task_id": AN_ID, "status": "pending", "created_at": A_TIME}
BATCH_ACCEPTED_EXAMPLE = {"task_ids": [AN_ID, ANOTHER_ID], "count": 2, "created_at": A_TIME}
TASK_EXAMPLE = {
    "task_id": AN_ID,
    "service_id": ANOTHER_ID,
    "status": "completed",
    "priority": 5,
    "latency": 0.004211,
    "created_at": A_TIME,
    "started_at": A_TIME,
    "completed_at": A_TIME,
    "deadline": None,
    "attempts": 1,
    "batch_size": 8,
    "model_version": "1.0.0",
    "worker": "digits.0@host",
    "metadata": None,
    "result": {"scores": [[0.01, 0.99]]},
}


class TaskOptions(ma.Schema):
    priority = fields.Integer(
        validate=validate.Range(0, MAX_PRIORITY), metadata={"description": "9 = most urgent; default 0"}
    )
    timeout_s = fields.Float(metadata={"description": "Longest engine call; default: the service's"}, allow_none=True)
    deadline = time_field("It must have been started by then, or it expires")
    callback_url = fields.String(allow_none=True, metadata={"description": "Refused until webhooks exist"})
    metadata = fields.Dict(metadata={"description": "Yours; shown with the task; at most 4 KB"})


class TaskSubmission(TaskOptions):
    """T1: one of `input_data` and `input_ref`."""

    input_data = fields.Dict(
        metadata={
            "description": 'Tensor name -> nested list, {"data","dtype","shape"} or {"b64","dtype","shape"}; batch '
            "axis first, one rank less = one row. At most 128 KB."
        }
    )
    input_ref = fields.String(
        metadata={
            "description": "`upload:<upload_id>` of the JSON of an input_data, or of an .npz with one array per "
            "tensor; at most 64 MB",
            "example": f"upload:{AN_ID}",
        }
    )


class BatchSubmission(TaskOptions):
    """T2: all or nothing."""

    input_data_list = fields.List(fields.Dict(), required=True, metadata={"description": "1 to 10,000 inputs"})


class TaskAccepted(ma.Schema):
    task_id = id_field("The task")
    status = fields.String(metadata={"example": "pending"})
    created_at = time_field("When it was committed", nullable=False)


class BatchAccepted(ma.Schema):
    task_ids = fields.List(fields.String(), metadata={"description": "In the order of the inputs"})
    count = fields.Integer()
    created_at = time_field("When they were committed", nullable=False)


class TaskError(ma.Schema):
    code = fields.String()
    message = fields.String()


class TaskSummary(ma.Schema):
    """A task as lists show it."""

    task_id = id_field("The task")
    service_id = id_field("The service it was sent to")
    status = fields.String(validate=validate.OneOf([state.value for state in JobState]))
    priority = fields.Integer()
    error = fields.Nested(TaskError, metadata={"description": "Of a failed or dead task only"})
    latency = fields.Float(allow_none=True, metadata={"description": "Seconds from submission to the final state"})
    created_at = time_field("When it was committed", nullable=False)
    started_at = time_field("When it was handed to the engine")
    completed_at = time_field("When it reached its final state")
    deadline = time_field("It must have been started by then")
    attempts = fields.Integer()
    batch_size = fields.Integer(allow_none=True, metadata={"description": "Tasks in that engine call"})
    model_version = fields.String(allow_none=True)
    worker = fields.String(allow_none=True)
    metadata = fields.Dict(allow_none=True)


class Task(TaskSummary):
    """T3."""

    result = fields.Dict(metadata={"description": "Output name -> nested list; of a completed task only"})


class TaskPage(ma.Schema):
    tasks = fields.List(fields.Nested(TaskSummary()))
    next = next_field()


class Cancelled(ma.Schema):
    task_id = id_field("The task")
    status = fields.String(metadata={"description": "`cancelled`, or `running` while the worker is being told"})


class TaskQuery(PageIn):
    """Filters of a list of tasks."""

    status = fields.String(
        load_default=None,
        validate=validate.OneOf([state.value for state in JobState], error="It must be one of {choices}."),
    )
    priority = fields.Integer(
        load_default=None, validate=validate.Range(0, MAX_PRIORITY, error="It must be from 0 to 9.")
    )
    from_ = fields.String(load_default=None, data_key="from", metadata={"description": "ISO 8601; created at or after"})
    to = fields.String(load_default=None, metadata={"description": "ISO 8601; created before"})


class AnyTaskQuery(TaskQuery):
    service_id = fields.String(load_default=None, metadata={"description": "Only of this service"})
