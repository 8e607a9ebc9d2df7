"""The newest sample as Prometheus gauges: the same figures that the WebSocket pushes and the series keep."""

from collections.abc import Iterator, Mapping

from inference.errors import HotUnavailable
from inference.telemetry.ports import Figures
from inference.telemetry.sample import Published, Sample

SAMPLED_AT = "penstock_sample_timestamp_seconds"
LATENCY = "penstock_service_latency_recent_seconds"
OF_SAMPLE: Mapping[str, tuple[str, str]] = {
    "penstock_service_submitted_per_second": ("submitted", "Tasks that came in the last second"),
    "penstock_service_throughput_per_second": ("throughput", "Tasks and predictions done in the last second"),
    "penstock_service_errors_per_second": ("errors", "Tasks and predictions that failed in the last second"),
    "penstock_service_queue_length": ("queue_length", "Waiting tasks"),
    "penstock_service_running": ("running", "Tasks in an engine"),
    "penstock_service_batch_fill": ("batch_fill", "Tasks in an engine call, as a share of the largest batch"),
    "penstock_service_instances_ready": ("instances_ready", "Engine instances that serve"),
    "penstock_service_cpu_cores": ("cpu", "Cores that the replicas use"),
    "penstock_service_memory_bytes": ("memory_bytes", "Memory of the replicas"),
}
"""Name -> figure of a sample, and help. What nobody knows at the moment is left out."""
QUANTILES = {"mean": "latency", "0.5": "latency_p50", "0.95": "latency_p95", "0.99": "latency_p99"}
GAUGES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    SAMPLED_AT: ("End of the second that the recent figures are of", ()),
    LATENCY: ("Latency of what completed in the last second", ("service", "quantile")),
    **{name: (text, ("service",)) for name, (_, text) in OF_SAMPLE.items()},
}

Row = tuple[str, tuple[str, ...], float]


def gauges(figures: Figures) -> Iterator[Row]:
    """(name, label values, value); nothing while Redis is away or nobody samples."""
    try:
        published = figures.newest()
    except HotUnavailable:
        return
    if published is not None:
        yield from rows(published)


def rows(published: Published) -> Iterator[Row]:
    """The gauges of one publication."""
    yield SAMPLED_AT, (), published.at
    for service_id, sample in published.services.items():
        yield from _of_service(service_id, sample)


def _of_service(service_id: str, sample: Sample) -> Iterator[Row]:
    for name, (figure, _) in OF_SAMPLE.items():
        if (value := getattr(sample, figure)) is not None:
            yield name, (service_id,), float(value)
    for quantile, figure in QUANTILES.items():
        if (value := getattr(sample, figure)) is not None:
            yield LATENCY, (service_id, quantile), float(value)
