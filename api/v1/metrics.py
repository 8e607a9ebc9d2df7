"""What Prometheus reads."""

from flask import Response
from prometheus_client import CONTENT_TYPE_LATEST

from api import context
from api.blueprint import Blueprint
from inference.access.model import Reach, Role
from inference.core import figures
from inference.serving import query
from inference.telemetry import metrics

blueprint = Blueprint("metrics", __name__, description="Prometheus text format")


@blueprint.route("/metrics", needs=Role.VIEWER)
@blueprint.doc(responses={"200": {"description": "OK", "content": {"text/plain": {"schema": {"type": "string"}}}}})
def show_metrics() -> Response:
    """Metrics of the API, and of what the database knows

    The key of a system sees all of it, another one what is about the services in its scope.
    """
    core, by = context.core(), context.principal()
    services = None if by.reach is Reach.SYSTEM else query.ids(core.serving, scope=by.scope)
    text = metrics.render(lambda: figures(core), services=services)
    return Response(text, content_type=CONTENT_TYPE_LATEST)
