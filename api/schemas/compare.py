"""What may be compared, and what the comparison says."""

from typing import Any

import marshmallow as ma
from marshmallow import fields, validate

from api.schemas.common import AN_ID, ANOTHER_ID, ID_PATTERN, Text, id_field
from inference.clock import ISO_FORM
from inference.results.difference import TOLERANCE

MOST_TASKS = 20

TASKS_EXAMPLE = {"task_ids": [AN_ID, ANOTHER_ID]}
SERVICE_EXAMPLE = {"versions": ["1.0.0", "1.1.0"]}


class Tolerance(fields.Float):
    """A number that is not negative; no text, no boolean."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.make_error("invalid")
        return float(super()._deserialize(value, attr, data, **kwargs))


def _tolerance() -> Tolerance:
    return Tolerance(
        load_default=TOLERANCE,
        validate=validate.Range(0, error="It must be 0 or more."),
        metadata={"description": "Largest difference of two numbers that still agree", "minimum": 0},
    )


class CompareQuery(ma.Schema):
    format = fields.String(
        load_default="json",
        validate=validate.OneOf(["json", "table"], error="It must be one of {choices}."),
        metadata={"description": "table: text for people"},
    )


class CompareTasksIn(ma.Schema):
    """The first is the reference."""

    task_ids = fields.List(
        fields.String(metadata={"pattern": ID_PATTERN, "example": AN_ID}),
        required=True,
        validate=validate.Length(2, MOST_TASKS, error="It must hold 2 to 20 ids."),
        metadata={"uniqueItems": True},
    )
    tolerance = _tolerance()


class ComparedSpan(ma.Schema):
    from_ = fields.String(
        load_default=None,
        data_key="from",
        metadata={"description": "ISO 8601; submitted at or after", "pattern": f"^{ISO_FORM}$"},
    )
    to = fields.String(
        load_default=None, metadata={"description": "ISO 8601; submitted before", "pattern": f"^{ISO_FORM}$"}
    )


class CompareServiceIn(ComparedSpan):
    """`versions`, within a time if one is given; or `ranges`, of all versions."""

    versions = fields.List(
        Text(),
        validate=validate.Length(equal=2, error="It must name two versions."),
        metadata={"description": "Of the model; the first is the reference", "uniqueItems": True},
    )
    ranges = fields.List(
        fields.Nested(ComparedSpan()), validate=validate.Length(equal=2, error="It must hold two ranges of time.")
    )
    tolerance = _tolerance()


class ComparedOutput(ma.Schema):
    """One output beside the same of the reference; numbers are null where there is nothing to say."""

    name = fields.String()
    kind = fields.String(allow_none=True, metadata={"description": "bool, integer, float or text"})
    shape = fields.List(fields.Integer(), allow_none=True)
    note = fields.String(allow_none=True, metadata={"description": "What keeps them from being compared"})
    max_abs = fields.Float(allow_none=True)
    mean_abs = fields.Float(allow_none=True)
    cosine = fields.Float(allow_none=True, metadata={"description": "Null where one of them is all zeros"})
    top1_agreement = fields.Float(
        allow_none=True, metadata={"description": "Share of rows whose largest entry stands at the same place"}
    )
    equal_share = fields.Float(allow_none=True, metadata={"description": "Share of elements that are equal"})
    agrees = fields.Boolean(metadata={"description": "No difference above the tolerance, same shape, same kind"})


class ComparedTask(ma.Schema):
    task_id = id_field("The task")
    model_version = fields.String(allow_none=True)
    latency = fields.Float(metadata={"description": "Seconds from submission to the end"})
    run_s = fields.Float(allow_none=True, metadata={"description": "Seconds from its start to the end"})
    agrees = fields.Boolean(metadata={"description": "Every output does"})
    outputs = fields.List(fields.Nested(ComparedOutput()))


class TasksWinner(ma.Schema):
    fastest = id_field("Least latency")
    closest = fields.String(allow_none=True, metadata={"description": "Nearest to the reference; null if none can be"})


class TasksCompared(ma.Schema):
    reference = id_field("The first of those asked for")
    tolerance = fields.Float()
    tasks = fields.List(fields.Nested(ComparedTask()), metadata={"description": "As asked for, the reference first"})
    winner = fields.Nested(TasksWinner())


class ComparedSpread(ma.Schema):
    mean = fields.Float()
    deviation = fields.Float()
    min = fields.Float()
    max = fields.Float()
    top1 = fields.Dict(metadata={"description": "Place of the largest entry -> share of rows; the ten most frequent"})


class ComparedSide(ma.Schema):
    name = fields.String(metadata={"description": "The version; or first and second"})
    tasks = fields.Integer(metadata={"description": "That are over"})
    completed = fields.Integer()
    error_share = fields.Float(allow_none=True)
    errors = fields.Dict(metadata={"description": "Code -> tasks"})
    throughput_per_s = fields.Float(
        allow_none=True, metadata={"description": "Completed in the range; null without both its ends"}
    )
    looked_at = fields.Integer(metadata={"description": "Newest completed tasks that the latencies are of"})
    latency_p50 = fields.Float(allow_none=True)
    latency_p95 = fields.Float(allow_none=True)
    latency_p99 = fields.Float(allow_none=True)
    outputs = fields.Dict(metadata={"description": "Output -> how its numbers lie, of the newest results"})


class ComparedPair(ma.Schema):
    task_ids = fields.List(fields.String())
    agrees = fields.Boolean()
    outputs = fields.List(fields.Nested(ComparedOutput()))


class ComparedPairs(ma.Schema):
    """Tasks of the same input, one of each version."""

    count = fields.Integer()
    agreeing = fields.Integer()
    outputs = fields.Dict(metadata={"description": "Output -> largest max_abs, means of the others"})
    worst = fields.List(fields.Nested(ComparedPair()), metadata={"description": "Five that differ, worst first"})


class ServiceWinner(ma.Schema):
    faster = fields.String(allow_none=True, metadata={"description": "By the median of the latency"})
    fewer_errors = fields.String(allow_none=True)


class ServiceCompared(ma.Schema):
    service_id = id_field("The service")
    sides = fields.List(fields.Nested(ComparedSide()))
    pairs = fields.Nested(ComparedPairs(), allow_none=True, metadata={"description": "Null for ranges of time"})
    shift = fields.Dict(
        metadata={"description": "Output -> share of rows that went to another class, 0 to 1, of the newest results"}
    )
    winner = fields.Nested(ServiceWinner())
