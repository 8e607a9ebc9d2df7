"""What was measured of a service: series by time, and what in them is out of the ordinary."""

from typing import Any

from flask import Response

from api import context, times
from api.blueprint import Blueprint
from api.documented import refuses
from api.errors import JSON
from api.schemas import service_metrics as schemas
from inference import errors
from inference.access.model import Role
from inference.telemetry import detect, read
from inference.telemetry.series import question

blueprint = Blueprint("service_metrics", __name__, description="Figures of a service by time")

Json = dict[str, Any]


@blueprint.route("/services/<service_id>/metrics", needs=Role.VIEWER)
@blueprint.arguments(schemas.MetricsQuery(), location="query")
@refuses(errors.InvalidField, errors.UnknownField, errors.ServiceNotFound)
@blueprint.doc(
    responses={
        "200": {
            "description": "OK",
            "content": {JSON: {"schema": schemas.MetricsShown(), "example": schemas.METRICS_EXAMPLE}},
        }
    }
)
def show_metrics(asked: Json, service_id: str) -> Response:
    """Show latency, throughput, queue, errors and resources by time

    Seconds are kept for an hour, minutes for a week, hours for 400 days unless set otherwise; `step` chooses among
    them. A step in which nothing happened has no point.
    """
    telemetry = context.core().telemetry
    _require(service_id)
    wanted = question(
        times.epoch_of(asked["from_"], "from"),
        times.epoch_of(asked["to"], "to"),
        asked["step"],
        now=telemetry.flow.now_s(),
        kept=telemetry.settings,
    )
    points = read.read(telemetry, service_id, wanted)
    return Response(schemas.render_points(service_id, wanted, points), mimetype=JSON)


@blueprint.route("/services/<service_id>/anomalies", needs=Role.VIEWER)
@blueprint.arguments(schemas.AnomaliesQuery(), location="query")
@refuses(errors.InvalidField, errors.UnknownField, errors.ServiceNotFound)
@blueprint.response(200, schemas.AnomaliesShown(), example=schemas.ANOMALIES_EXAMPLE)
def show_anomalies(asked: Json, service_id: str) -> Json:
    """Show when rate, latency or errors were out of the ordinary

    By the minute, against the hour before and the same hour of the last days; docs/metrics.md says how. A range may
    have 24 hours.
    """
    _require(service_id)
    found = detect.detect(
        context.core().telemetry,
        service_id,
        since=times.epoch_of(asked["from_"], "from"),
        until=times.epoch_of(asked["to"], "to"),
    )
    return {"service_id": service_id, "anomalies": [schemas.anomaly_shown(anomaly) for anomaly in found]}


def _require(service_id: str) -> None:
    """Raises ServiceNotFound for a service that the caller does not see."""
    context.known_form(service_id, errors.ServiceNotFound, "service")
    context.core().serving.services.get(context.scope(), service_id)
