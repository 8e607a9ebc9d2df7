"""What the documentation says of tasks, and the queries that list them."""

import marshmallow as ma
from marshmallow import fields, validate

from api.schemas.common import A_TIME, AN_ID, ANOTHER_ID, AnsweredBy, PageIn, id_field, id_in, next_field, time_field
from api.schemas.inputs import INPUT_DATA as INPUT_SCHEMA
from api.schemas.task_filter import TaskFilter
from api.schemas.task_in import MAX_TIMEOUT_S
from inference.clock import ISO_FORM
from inference.ids import FORM
from inference.jobs.model import MAX_PRIORITY, JobState
from inference.notify import guard

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
    "generation": 1,
    "attempts": 1,
    "batch_size": 8,
    "model_version": "1.0.0",
    "worker": "digits.0@host",
    "metadata": None,
    "queue_position": None,
    "eta_s": None,
    "result": {"scores": [[0.01, 0.99]]},
}


PRIORITY = {"type": "integer", "minimum": 0, "maximum": MAX_PRIORITY}


class TaskOptions(ma.Schema):
    priority = fields.Integer(metadata={"description": "9 = most urgent; default 0", **PRIORITY})
    timeout_s = fields.Float(
        metadata={
            "description": "Longest engine call; default: the service's",
            "minimum": 0,
            "exclusiveMinimum": True,
            "maximum": MAX_TIMEOUT_S,
        },
        allow_none=True,
    )
    deadline = fields.String(
        metadata={
            "description": "It must have been started by then, or it expires. A time without an offset is UTC",
            "pattern": f"^{ISO_FORM}$",
            "example": A_TIME,
        },
        allow_none=True,
    )
    callback_url = fields.String(
        metadata={
            "description": "Told of the task's end by a signed webhook; http or https, a public address",
            "pattern": "^https?://[!-~]+$",
            "maxLength": guard.LONGEST_URL,
            "example": "https://example.com/hooks/penstock",
        },
        allow_none=True,
    )
    callback_events = fields.List(
        fields.String(validate=validate.OneOf(("finished", "started"))),
        metadata={"description": "Default: finished", "minItems": 1, "uniqueItems": True},
        allow_none=True,
    )
    metadata = fields.Dict(metadata={"description": "Yours; shown with the task; at most 4 KB"})


class TaskSubmission(TaskOptions):
    """T1: one of `input_data` and `input_ref`."""

    input_data = fields.Dict(metadata=INPUT_SCHEMA)
    input_ref = fields.String(
        metadata={
            "description": "`upload:<upload_id>`, an http(s) URL or `s3://bucket/key` of the JSON of an input_data, of "
            "an .npz with one array per tensor, or of an .npy for a model of one tensor; at most 64 MB",
            "pattern": f"^(upload:{FORM}$|https?://.|s3://.)",
            "example": f"upload:{AN_ID}",
        }
    )


ONE_TASK = {"allOf": [TaskSubmission()], "oneOf": [{"required": ["input_data"]}, {"required": ["input_ref"]}]}
"""What the schema's class cannot say: one of two fields must be there, and not both."""


class BatchSubmission(TaskOptions):
    """T2: all or nothing."""

    input_data_list = fields.List(
        fields.Dict(metadata=INPUT_SCHEMA),
        required=True,
        metadata={"description": "1 to 10,000 inputs", "minItems": 1, "maxItems": 10_000},
    )


class TaskAccepted(ma.Schema):
    task_id = id_field("The task")
    status = fields.String(metadata={"example": "pending", "description": "`completed` where `cached`"})
    cached = fields.Boolean(metadata={"description": "Only where the answer to an equal input was kept: docs/cache.md"})
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
    answered_by = fields.Nested(
        AnsweredBy(), metadata={"description": "Only of a task that a fallback of the service took"}
    )
    status = fields.String(validate=validate.OneOf([state.value for state in JobState]))
    cached = fields.Boolean(metadata={"description": "Only of a task that an answer which was kept has completed"})
    coalesced = fields.Boolean(metadata={"description": "Only of one that shared the run of an equal input"})
    priority = fields.Integer()
    error = fields.Nested(TaskError, metadata={"description": "Of a failed or dead task only"})
    latency = fields.Float(allow_none=True, metadata={"description": "Seconds from submission to the final state"})
    created_at = time_field("When it was committed", nullable=False)
    started_at = time_field("When it was handed to the engine")
    completed_at = time_field("When it reached its final state")
    deadline = time_field("It must have been started by then")
    generation = fields.Integer(metadata={"description": "Grows with each retry or requeue; 1 is the first"})
    attempts = fields.Integer(metadata={"description": "Of this generation"})
    batch_size = fields.Integer(allow_none=True, metadata={"description": "Tasks in that engine call"})
    model_version = fields.String(allow_none=True)
    worker = fields.String(allow_none=True)
    metadata = fields.Dict(allow_none=True)
    trace_id = fields.String(metadata={"description": "Only of a task that is traced", "pattern": "^[0-9a-f]{32}$"})


class TaskCost(ma.Schema):
    """Of all engine calls that the task had part in, at the prices of their time; a waiting task has cost nothing."""

    gpu_s = fields.Float(metadata={"description": "GPU-seconds: its share of each call, times the part of the card"})
    cpu_s = fields.Float(metadata={"description": "Core-seconds: its share, times the cores that the instance holds"})
    money = fields.Float()
    currency = fields.String(metadata={"example": "USD"})


class ResultRefOut(ma.Schema):
    """Where a large result can be read."""

    url = fields.String(metadata={"description": "GET it: the JSON that would stand under `result`"})
    size_bytes = fields.Integer()
    sha256 = fields.String()


class TaskProgress(ma.Schema):
    """What the engine reported last; some half a second old. Only engines that know how far they are report."""

    fraction = fields.Float(metadata={"description": "0 to 1"}, validate=validate.Range(0, 1))
    message = fields.String()
    updated_at = time_field("When it was said", nullable=False)


class Task(TaskSummary):
    """T3."""

    queue_position = fields.Integer(
        allow_none=True,
        metadata={
            "description": "Tasks of the service that wait before it; null when it does not wait in the queue, or when "
            "there are more than 10,000"
        },
    )
    eta_s = fields.Float(
        allow_none=True,
        metadata={
            "description": "Seconds until it may be done, by measured batch times and the queue as it is; null when "
            "nothing was measured or no engine is ready"
        },
    )
    cost = fields.Nested(TaskCost(), metadata={"description": "Only where the query asks for it"})
    progress = fields.Nested(
        TaskProgress(), metadata={"description": "Only of a running task whose engine reports how far it is"}
    )
    result = fields.Dict(
        allow_none=True,
        metadata={"description": "Output name -> nested list; of a completed task only. Null when it is too large"},
    )
    result_ref = fields.Nested(ResultRefOut(), metadata={"description": "Only of a result that is too large"})


class TaskPage(ma.Schema):
    """With a filter that few tasks fit, a page may be short, or empty, and still have a `next`."""

    tasks = fields.List(fields.Nested(TaskSummary()))
    next = next_field()


class Cancelled(ma.Schema):
    task_id = id_field("The task")
    status = fields.String(metadata={"description": "`cancelled`, or `running` while the worker is being told"})


class TaskQuery(PageIn, TaskFilter):
    """Filters of a list of tasks."""

    status = fields.String(
        load_default=None,
        validate=validate.OneOf([state.value for state in JobState], error="It must be one of {choices}."),
    )
    sort = fields.String(
        load_default="newest",
        validate=validate.OneOf(["newest", "oldest"], error="It must be one of {choices}."),
        metadata={"description": "Which come first, by the time of submission"},
    )


class AnyTaskQuery(TaskQuery):
    service_id = id_in("Only of this service", load_default=None)
