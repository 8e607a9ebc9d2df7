"""Which figure stands for the memory of an instance: by where it runs, and by what was measured there."""

from dataclasses import replace

import pytest

from inference.serving import memory
from inference.serving.model import Profile, Requirements, ServiceConfig
from tests.contract.serving import make_replica
from tests.unit.serving.fakes import FakeModels

CPU = Profile(
    model_id="m", device_kind="cpu/1", provider="cpu", max_batch=8, curve=(), measured_at=1.0, memory_bytes=10,
    memory_basis="measured",
)  # fmt: skip
CARD = replace(CPU, device_kind="cuda/1", provider="cuda", memory_bytes=70)


@pytest.mark.parametrize(
    ("config", "devices", "on_card"),
    [
        (ServiceConfig(), [], False),
        (ServiceConfig(provider="cuda"), [], True),
        (ServiceConfig(requirements=Requirements(gpu=1)), [], True),
        (ServiceConfig(requirements=Requirements(gpu_memory_bytes=5)), [], True),
        (ServiceConfig(provider="cuda"), ["cpu"], False),
        (ServiceConfig(), ["cpu", "GPU-1"], True),
    ],
)
def test_where_it_was_placed_counts_before_what_it_asks(config, devices, on_card):
    replicas = [replace(make_replica(), device=device) for device in devices]

    assert memory.is_on_card(config, replicas) is on_card


def test_the_newest_measurement_of_that_kind_of_device_counts():
    model = FakeModels().row
    newer = replace(CARD, device_kind="cuda/4", measured_at=2.0, memory_bytes=90)
    unmeasured = replace(CARD, device_kind="cuda/8", measured_at=3.0, memory_bytes=None)
    profiles = [CPU, CARD, newer, unmeasured]

    on_card = memory.per_instance(model, profiles, ServiceConfig(), on_card=True)
    on_cpu = memory.per_instance(model, profiles, ServiceConfig(), on_card=False)

    assert (on_card.bytes, on_cpu.bytes) == (90, 10)
