"""What Prometheus reads."""

from collections.abc import Iterator
from typing import Any

from flask import Response
from prometheus_client import CONTENT_TYPE_LATEST

from api import context
from api.blueprint import Blueprint
from inference.core import Core
from inference.telemetry import metrics

blueprint = Blueprint("metrics", __name__, description="Prometheus text format")


@blueprint.route("/metrics")
@blueprint.doc(responses={"200": {"description": "OK", "content": {"text/plain": {"schema": {"type": "string"}}}}})
def show_metrics() -> Response:
    """Metrics of the API, and of what the database knows"""
    core = context.core()
    return Response(metrics.render(lambda: samples(core)), content_type=CONTENT_TYPE_LATEST)


def samples(core: Core) -> Iterator[tuple[str, tuple[str, ...], float]]:
    """Jobs by state, queues by priority, replicas by state: as the database has them now."""
    counts = core.jobs.store.counts()
    for (service_id, state), count in counts.items():
        yield "penstock_jobs", (service_id, state.value), count
    backlog = core.jobs.store.backlog()
    for service_id in {service_id for service_id, _ in counts} - {queue.service_id for queue in backlog}:
        yield "penstock_queue_depth", (service_id, "0"), 0.0  # an empty queue is a figure too, not a gap
        yield "penstock_queue_oldest_seconds", (service_id, "0"), 0.0
    for queue in backlog:
        labels = (queue.service_id, str(queue.priority))
        yield "penstock_queue_depth", labels, queue.waiting
        yield "penstock_queue_oldest_seconds", labels, queue.oldest_age_s
    replicas: dict[tuple[str, str], int] = {}
    for replica in core.serving.replicas.all():
        key = (replica.service_id, replica.observed.value)
        replicas[key] = replicas.get(key, 0) + 1
    for replica_labels, count in replicas.items():
        yield "penstock_replicas", replica_labels, count


def timed(counted: dict[tuple[str, int], Any], route: str, status: int, seconds: float) -> None:
    """Counts one request; `counted` keeps the label children, which are slow to look up."""
    key = (route, status)
    if key not in counted:
        counted[key] = metrics.http_requests.labels(route, str(status)), metrics.http_time.labels(route)
    requests, times = counted[key]
    requests.inc()
    times.observe(seconds)
