"""Every metric, declared once. What can be counted in the database is read there, when somebody scrapes."""

import os
from collections.abc import Callable, Container, Iterable

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from inference.telemetry import room, status

room.take_room()

LATENCY_BUCKETS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 300, 1800)
STEP_BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 30)
BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256)

submitted = Counter("penstock_submit", "Jobs accepted", ["service"])
commits = Counter("penstock_commits", "Group commits of submissions")
submissions = Counter("penstock_submissions", "Requests that shared those commits")
doorbells = Counter("penstock_doorbells", "Doorbells published to Celery", ["service"])
empty_claims = Counter("penstock_empty_claims", "Claims that found nothing to do", ["service"])
fenced = Counter("penstock_fenced", "Finished attempts that were no longer the job's", ["service"])
finished = Counter("penstock_jobs_finished", "Attempts' effects on jobs", ["service", "state"])
batch_size = Histogram("penstock_batch_size", "Rows in an engine call", ["service"], buckets=BATCH_BUCKETS)
job_latency = Histogram(
    "penstock_job_latency_seconds", "Submission to final state", ["service"], buckets=LATENCY_BUCKETS
)
express = Counter("penstock_express", "Synchronous predictions by how they ended", ["service", "result"])
express_latency = Histogram(
    "penstock_express_seconds",
    "Synchronous predictions, from acceptance to the end of the engine call",
    ["service"],
    buckets=LATENCY_BUCKETS,
)
claim_time = Histogram("penstock_claim_seconds", "One claim", ["service"], buckets=STEP_BUCKETS)
run_time = Histogram("penstock_run_seconds", "One engine call with its hooks", ["service"], buckets=STEP_BUCKETS)
finish_time = Histogram(
    "penstock_finish_seconds", "One finish, the next claim included", ["service"], buckets=STEP_BUCKETS
)
scaling_decisions = Counter("penstock_scaling_decisions", "Changes of a service's size", ["service", "direction"])
scaling_wanted = Gauge(
    "penstock_scaling_wanted", "Instances that the autoscaler wants", ["service"], multiprocess_mode="mostrecent"
)
scaling_ready = Gauge(
    "penstock_scaling_ready", "Instances that it finds ready", ["service"], multiprocess_mode="mostrecent"
)
evictions = Counter("penstock_evictions", "Replicas of lower priority put out for this service", ["service"])
places_lost = Counter("penstock_places_lost", "Places that were taken by another before they were reserved")
log_entries_shed = Counter("penstock_log_entries_shed", "Log entries for which the log store had no room")
spans = Counter("penstock_spans", "Spans of traces, by what became of them: sent, dropped, failed", ["result"])
cache_lookups = Counter("penstock_cache_lookups", "Inputs for which a kept answer was looked up", ["service", "result"])
coalesced = Counter("penstock_jobs_coalesced", "Jobs completed by the run of another with an equal input", ["service"])
blobs_collected = Counter("penstock_blobs_collected", "Contents that no row named any more, removed")
blob_bytes_collected = Counter("penstock_blob_collected_bytes", "Their bytes")
http_requests = Counter("penstock_http_requests", "HTTP requests", ["route", "status"])
http_time = Histogram("penstock_http_request_seconds", "HTTP requests", ["route"], buckets=STEP_BUCKETS)

# name -> (help, label names); the values come from the database, or from Redis, at each scrape
READ_FROM_STORE = {
    "penstock_blob_bytes": ("Bytes in the blob store, by what names them", ("kind",)),
    "penstock_jobs": ("Jobs by state", ("service", "state")),
    "penstock_queue_depth": ("Jobs that wait to be claimed", ("service", "priority")),
    "penstock_express_waiting": ("Synchronous predictions that wait to be taken", ("service",)),
    "penstock_queue_oldest_seconds": ("Age of the oldest waiting job", ("service", "priority")),
    "penstock_replicas": ("Replicas by observed state", ("service", "state")),
    "penstock_service_up": ("1 while it runs, 0 in error; of no other", ("service",)),
    "penstock_alerts": ("Alerts that fire", ("service", "rule", "severity")),
    "penstock_cost_per_hour": ("Money that its replicas cost an hour, as they are now", ("service",)),
    "penstock_budget_used": ("Spent, of the soft limit or of the hard one without it", ("tenant", "service")),
    **status.GAUGES,
}

Samples = Iterable[tuple[str, tuple[str, ...], float]]


class StoreCollector(Collector):
    """Gauges that `read` yields as (metric name, label values, value)."""

    def __init__(self, read: Callable[[], Samples]) -> None:
        self._read = read

    def collect(self) -> Iterable[Metric]:
        families = {
            name: GaugeMetricFamily(name, text, labels=labels) for name, (text, labels) in READ_FROM_STORE.items()
        }
        for name, labels, value in self._read():
            families[name].add_metric(labels, value)
        return families.values()


class Narrowed(Collector):
    """What another collector gives, as far as it is about some services."""

    def __init__(self, inner: Collector, services: Container[str]) -> None:
        self._inner, self._services = inner, services

    def collect(self) -> Iterable[Metric]:
        return about(self._inner.collect(), self._services)


def about(families: Iterable[Metric], services: Container[str]) -> Iterable[Metric]:
    """The samples labelled with one of `services`; what names no service tells of everybody's work, and is left out."""
    for family in families:
        seen = Metric(family.name, family.documentation, family.type, family.unit)
        seen.samples = [sample for sample in family.samples if sample.labels.get("service", "") in services]
        if seen.samples:
            yield seen


def render(
    read: Callable[[], Samples] | None = None,
    *,
    others: Iterable[Collector] = (),
    services: Container[str] | None = None,
) -> bytes:
    """The text that Prometheus scrapes: this process', or, in multi-process mode, all processes' of its folder.

    `others` are read beside them, as a node's machine (`telemetry.machine`). With `services` only what is about those.
    """
    registry = CollectorRegistry()
    if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # the library's own gap
    else:
        registry.register(prometheus_client.REGISTRY)
    if read is not None:
        registry.register(StoreCollector(read))
    for other in others:
        registry.register(other)
    return prometheus_client.generate_latest(registry if services is None else Narrowed(registry, services))
