"""What the documentation says of synchronous predictions."""

import marshmallow as ma
from marshmallow import fields

from api.schemas.common import A_TIME, FallbackShown
from api.schemas.inputs import INPUT_DATA as INPUT_SCHEMA
from api.schemas.task_in import MAX_TIMEOUT_S
from api.schemas.tasks import INPUT_DATA, PRIORITY
from inference.clock import ISO_FORM

PREDICT_EXAMPLE = {"input_data": INPUT_DATA, "priority": 5, "timeout_s": 2.5}
PREDICTED_EXAMPLE = {"prediction": {"scores": [[0.01, 0.99]]}, "model_version": "1.0.0", "latency_ms": 3.412}

PREDICT = {
    "type": "object",
    "required": ["input_data"],
    "additionalProperties": False,
    "properties": {
        "input_data": INPUT_SCHEMA,
        "priority": {"description": "9 = most urgent; default 0", **PRIORITY},
        "timeout_s": {
            "type": "number",
            "minimum": 0,
            "exclusiveMinimum": True,
            "maximum": MAX_TIMEOUT_S,
            "nullable": True,
            "description": "How long the answer is waited for, at most 60; default: the service's timeout",
        },
        "deadline": {
            "type": "string",
            "pattern": f"^{ISO_FORM}$",
            "nullable": True,
            "example": A_TIME,
            "description": "Nobody waits after it. A time without an offset is UTC",
        },
    },
}


class Predicted(ma.Schema):
    prediction = fields.Dict(required=True, metadata={"description": "Output name -> nested list, as a task's result"})
    model_version = fields.String(required=True)
    answered_by = fields.Nested(FallbackShown(), metadata={"description": "Only of a prediction that a fallback took"})
    cached = fields.Boolean(metadata={"description": "Only of one that the answer to an equal input was kept for"})
    latency_ms = fields.Float(required=True, metadata={"description": "From the whole request to its answer"})
