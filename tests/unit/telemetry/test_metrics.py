"""What of the metrics somebody sees who may not see everything."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import Metric

from inference.telemetry import metrics


def everything() -> CollectorRegistry:
    registry = CollectorRegistry()
    jobs = Counter("jobs", "Jobs", ["service", "state"], registry=registry)
    times = Histogram("times", "Times", ["service"], registry=registry, buckets=(1, 2))
    requests = Counter("requests", "Requests of everybody", ["route"], registry=registry)
    Counter("commits", "Commits of everybody", registry=registry).inc(5)
    for service in ("mine", "theirs"):
        jobs.labels(service, "done").inc(3)
        times.labels(service).observe(1.5)
    requests.labels("/v1/models").inc()
    return registry


def test_only_samples_of_the_services_asked_for_are_left():
    left = list(metrics.about(everything().collect(), {"mine"}))

    samples = [sample for family in left for sample in family.samples]
    assert {family.name for family in left} == {"jobs", "times"}
    assert {sample.labels["service"] for sample in samples} == {"mine"}
    assert ("jobs_total", 3.0) in {(sample.name, sample.value) for sample in samples}


def test_who_has_no_service_sees_nothing():
    assert list(metrics.about(everything().collect(), frozenset())) == []


def test_a_family_is_left_as_it_was_for_those_who_see_all_of_it():
    whole = everything()

    narrowed: Iterable[Metric] = metrics.Narrowed(whole, {"mine", "theirs"}).collect()

    kept = {family.name: family for family in whole.collect() if family.name in ("jobs", "times")}
    assert {family.name: family for family in narrowed} == kept


def test_what_is_read_from_the_store_is_narrowed_as_well():
    def read() -> metrics.Samples:
        yield "penstock_jobs", ("mine", "pending"), 1
        yield "penstock_jobs", ("theirs", "pending"), 2

    narrow, whole = metrics.render(read, services={"mine"}).decode(), metrics.render(read).decode()

    assert ('penstock_jobs{service="mine",state="pending"} 1.0' in narrow, "theirs" in narrow) == (True, False)
    assert 'penstock_jobs{service="theirs",state="pending"} 2.0' in whole
    assert "python_info" in whole
    assert "python_info" not in narrow
