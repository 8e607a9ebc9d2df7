"""A batch observed at once counts as its values one by one do."""

from prometheus_client import CollectorRegistry, Histogram

from inference.telemetry.many import observe_all

AMOUNTS = [0.0, 0.5, 1.0, 1.5, 2.0, 9.0, 1e9]


def samples(registry: CollectorRegistry) -> dict[tuple[str, str], float]:
    return {
        (sample.name, sample.labels.get("le", "")): sample.value
        for family in registry.collect()
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


def test_a_batch_observed_at_once_counts_as_its_values_one_by_one():
    one_by_one, at_once = CollectorRegistry(), CollectorRegistry()
    each = Histogram("h", "", ["service"], buckets=(1, 2, 5), registry=one_by_one).labels("s")
    whole = Histogram("h", "", ["service"], buckets=(1, 2, 5), registry=at_once).labels("s")

    for amount in AMOUNTS:
        each.observe(amount)
    observe_all(whole, AMOUNTS)
    observe_all(whole, [])

    assert samples(at_once) == samples(one_by_one)
