"""Series and anomalies of a service on the wire."""

from collections.abc import Sequence
from operator import attrgetter
from typing import Any

import marshmallow as ma
import orjson
from marshmallow import fields, validate

from api.schemas.common import AN_ID, ID_PATTERN
from inference import clock
from inference.clock import ISO_FORM
from inference.telemetry.anomaly import Anomaly, Measure
from inference.telemetry.sample import METRICS
from inference.telemetry.series import EASY_POINTS, Point, Question

_OF_A_MOMENT = frozenset({"batch_fill"})
POINT_METRICS = tuple(name for name in METRICS if name not in _OF_A_MOMENT)
_figures = attrgetter(*POINT_METRICS)
A_TIME = "2026-11-20T06:30:00.000000Z"
A_POINT = {
    "at": A_TIME,
    "submitted": 41.5,
    "throughput": 41.3,
    "predictions": 0.0,
    "errors": 0.2,
    "error_codes": {"timed_out": 3},
    "error_ratio": 0.004819,
    "latency": 0.031,
    "latency_p50": 0.024,
    "latency_p95": 0.071,
    "latency_p99": 0.140,
    "run_time": 0.008,
    "queue_wait": 0.021,
    "queue_wait_p95": 0.060,
    "queue_length": 2,
    "queue_most": 9,
    "running": 4,
    "batch_size": 5.2,
    "instances_ready": 1,
    "cpu": 0.41,
    "memory_bytes": 412_000_000.0,
    "gpu": None,
    "gpu_memory_bytes": None,
    "gpu_source": None,
}
METRICS_EXAMPLE = {"service_id": AN_ID, "step_s": 15, "points": [A_POINT]}
ANOMALIES_EXAMPLE = {
    "service_id": AN_ID,
    "anomalies": [
        {
            "measure": "latency",
            "from": A_TIME,
            "to": "2026-11-20T06:34:00.000000Z",
            "value": 0.61,
            "expected": 0.2,
            "score": 9.7,
        }
    ],
}


def _time(description: str, **options: Any) -> fields.String:
    return fields.String(
        load_default=None, metadata={"description": description, "pattern": f"^{ISO_FORM}$"}, **options
    )


class MetricsQuery(ma.Schema):
    from_ = _time("First moment; an hour before `to` without it", data_key="from")
    to = _time("Until before this moment; now without it")
    step = fields.Integer(
        load_default=None,
        validate=validate.Range(min=1, max=86_400, error="It must be from 1 to 86400 seconds."),
        metadata={
            "description": "Seconds in a point: below 60, or a multiple of 60; without it as few as give "
            f"{EASY_POINTS} points or fewer",
            "example": 15,
        },
    )


class AnomaliesQuery(ma.Schema):
    from_ = _time("First moment; an hour before `to` without it", data_key="from")
    to = _time("Until before this moment; now without it")


class PointShown(ma.Schema):
    """Rates are per second, durations in seconds; null where nothing completed, or nobody said."""

    at = fields.String(metadata={"format": "date-time", "example": A_TIME, "description": "When the step begins"})
    submitted = fields.Float(metadata={"description": "Tasks that came"})
    throughput = fields.Float(metadata={"description": "Tasks and predictions that completed"})
    predictions = fields.Float(metadata={"description": "Predictions among them"})
    errors = fields.Float(metadata={"description": "Tasks and predictions that failed"})
    error_codes = fields.Dict(keys=fields.String(), values=fields.Integer(), metadata={"description": "How many"})
    error_ratio = fields.Float(allow_none=True, metadata={"description": "Of all that completed or failed"})
    latency = fields.Float(allow_none=True, metadata={"description": "Mean, from submission to completion"})
    latency_p50 = fields.Float(allow_none=True, metadata={"description": "Within 1 % of the exact percentile"})
    latency_p95 = fields.Float(allow_none=True)
    latency_p99 = fields.Float(allow_none=True)
    run_time = fields.Float(allow_none=True, metadata={"description": "Mean time of a task in its engine call"})
    queue_wait = fields.Float(allow_none=True, metadata={"description": "Mean time of a task before it"})
    queue_wait_p95 = fields.Float(allow_none=True)
    queue_length = fields.Integer(metadata={"description": "Waiting tasks, on average"})
    queue_most = fields.Integer(metadata={"description": "The longest queue of the seconds in the step"})
    running = fields.Integer(metadata={"description": "Tasks in an engine, on average"})
    batch_size = fields.Float(allow_none=True, metadata={"description": "Tasks in an engine call, on average"})
    instances_ready = fields.Integer()
    cpu = fields.Float(allow_none=True, metadata={"description": "Cores that the replicas used"})
    memory_bytes = fields.Float(allow_none=True, metadata={"description": "Memory of the replicas"})
    gpu = fields.Float(allow_none=True, metadata={"description": "Busy share of the cards that they are on"})
    gpu_memory_bytes = fields.Float(allow_none=True, metadata={"description": "Memory in use on those cards"})
    gpu_source = fields.String(allow_none=True, metadata={"description": "nvml, static or replay"})


class MetricsShown(ma.Schema):
    service_id = fields.String(metadata={"pattern": ID_PATTERN, "example": AN_ID})
    step_s = fields.Integer()
    points = fields.List(fields.Nested(PointShown()), metadata={"description": "Steps in which something happened"})


class AnomalyShown(ma.Schema):
    measure = fields.String(validate=validate.OneOf([measure.value for measure in Measure]))
    from_ = fields.String(data_key="from", metadata={"format": "date-time"})
    to = fields.String(metadata={"format": "date-time"})
    value = fields.Float(metadata={"description": "In the worst minute: ends a second, seconds (p95), or a share"})
    expected = fields.Float(metadata={"description": "The median of the past that speaks less for an anomaly"})
    score = fields.Float(metadata={"description": "Distance from it, in deviations; negative: below"})


class AnomaliesShown(ma.Schema):
    service_id = fields.String(metadata={"pattern": ID_PATTERN, "example": AN_ID})
    anomalies = fields.List(fields.Nested(AnomalyShown()))


def render_points(service_id: str, asked: Question, points: Sequence[Point]) -> bytes:
    """As `MetricsShown`; by hand, since there may be thousands of points."""
    told = [
        {"at": clock.iso(point.at), "queue_most": point.queue_most}
        | dict(zip(POINT_METRICS, _figures(point.figures), strict=True))
        for point in points
    ]
    return orjson.dumps({"service_id": service_id, "step_s": asked.step_s, "points": told})


def anomaly_shown(anomaly: Anomaly) -> dict[str, Any]:
    return {
        "measure": anomaly.measure.value,
        "from_": clock.iso(anomaly.since),
        "to": clock.iso(anomaly.until),
        "value": round(anomaly.value, 6),
        "expected": round(anomaly.expected, 6),
        "score": round(anomaly.score, 2),
    }
