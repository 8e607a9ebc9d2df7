"""Quotas of the pool: what a tenant's services are meant to hold together."""

import pytest

from inference.access.model import NO_LIMITS, Limits, Scope
from inference.errors import QuotaExceeded
from inference.serving import quota
from inference.serving.model import Requirements, Service, ServiceConfig, ServiceState
from tests.unit.serving.fakes import fake_ports

S = ServiceState
GIB = 1 << 30
CARD = Requirements(gpu=1)
SHARE = Requirements(gpu=1, gpu_memory_bytes=10 * GIB)


def service(name, *, state=S.RUNNING, replicas=1, wants=SHARE, tenant="t"):
    config = ServiceConfig(replicas=replicas, requirements=wants)
    values = {"tenant_id": tenant, "name": name, "model_id": "m", "revision": 1, "created_at": 0.0, "updated_at": 0.0}
    return Service(id=name, state=state, config=config, **values)


def refusal(limits, *services, wants=SHARE, replicas=1, service_id="new"):
    """The exceeded quota, or None."""
    ports = fake_ports()
    ports.services.rows = {one.id: one for one in services}
    config = ServiceConfig(replicas=replicas, requirements=wants)
    asked = {"scope": Scope("t"), "limits": limits, "service_id": service_id, "config": config, "replicas": replicas}
    try:
        quota.require_room(ports, **asked)
    except QuotaExceeded as error:
        return error.details["quota"]
    return None


@pytest.mark.parametrize(
    ("limits", "others", "wanted", "expected"),
    [
        (NO_LIMITS, [service("a", replicas=60)], {"replicas": 60}, None),
        (Limits(replicas=3), [service("a", replicas=2)], {"replicas": 1}, None),
        (Limits(replicas=3), [service("a", replicas=2)], {"replicas": 2}, "replicas"),
        (Limits(replicas=3), [service("a", replicas=3, state=S.STOPPED)], {"replicas": 3}, None),
        (Limits(replicas=3), [service("a", replicas=3, state=S.PREEMPTED)], {}, "replicas"),
        (Limits(replicas=3), [service("a", replicas=3, tenant="u")], {"replicas": 3}, None),
        (Limits(gpus=1), [service("a", wants=CARD)], {"wants": CARD}, "gpus"),
        (Limits(gpus=1), [service("a", wants=Requirements(cpu=1))], {"wants": CARD}, None),
        (Limits(gpu_memory_bytes=25 * GIB), [service("a")], {"replicas": 1}, None),
        (Limits(gpu_memory_bytes=25 * GIB), [service("a")], {"replicas": 2}, "gpu_memory_bytes"),
        (Limits(gpu_memory_bytes=0), [], {"wants": CARD}, None),
    ],
)
def test_a_tenant_has_no_more_than_it_may(limits, others, wanted, expected):
    assert refusal(limits, *others, **wanted) == expected


@pytest.mark.parametrize(
    ("limits", "mine", "expected"),
    [
        (NO_LIMITS, service("new"), None),
        (Limits(replicas=5), service("new"), 3),
        (Limits(replicas=5, gpus=4), service("new"), 2),
        (Limits(gpus=4), service("new", wants=Requirements(cpu=1)), None),
        (Limits(gpu_memory_bytes=35 * GIB), service("new"), 1),
        (Limits(replicas=3), service("new", replicas=4), 4),
        (Limits(replicas=1), service("new", replicas=0), 0),
    ],
    ids=["no limit", "one", "the strictest", "of another kind", "memory", "never less than it has", "nothing left"],
)
def test_what_a_service_may_grow_to_is_what_the_others_leave(limits, mine, expected):
    ports = fake_ports()
    ports.services.rows = {one.id: one for one in (mine, service("other", replicas=2), service("u", tenant="u"))}

    found = quota.most_replicas(ports, limits=limits, service=mine)

    assert (found and found.replicas) == expected
    assert found is None or "its tenant may have" in found.words


def test_a_service_counts_by_its_new_size_and_may_always_shrink():
    mine = service("new", replicas=5)

    assert refusal(Limits(replicas=6), mine, replicas=6) is None
    assert refusal(Limits(replicas=3), mine, replicas=4) is None
    assert refusal(Limits(replicas=3), mine, replicas=6) == "replicas"
