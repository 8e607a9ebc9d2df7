"""What Prometheus reads."""

from flask import Response
from prometheus_client import CONTENT_TYPE_LATEST

from api import context
from api.blueprint import Blueprint
from inference.access.model import Role
from inference.core import figures
from inference.telemetry import metrics

blueprint = Blueprint("metrics", __name__, description="Prometheus text format")


@blueprint.route("/metrics", needs=Role.VIEWER)
@blueprint.doc(responses={"200": {"description": "OK", "content": {"text/plain": {"schema": {"type": "string"}}}}})
def show_metrics() -> Response:
    """Metrics of the API, and of what the database knows"""
    core = context.core()
    return Response(metrics.render(lambda: figures(core)), content_type=CONTENT_TYPE_LATEST)
