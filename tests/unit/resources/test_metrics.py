"""The metrics of devices: only what a driver told is called a GPU's."""

from prometheus_client import CollectorRegistry, generate_latest

from inference.resources.metrics import DeviceCollector, samples
from inference.resources.model import DeviceState, Figures, Source
from tests.unit.resources.devices import device, reading

ALL = Figures(memory_used_bytes=8, utilisation_percent=50.0, temperature_c=40.0, power_w=300.0, throttle=(), xids=1)


def test_a_simulated_device_is_never_called_a_gpu():
    for source in (Source.STATIC, Source.REPLAY):
        names = {name for name, _, _ in samples(reading(device(source=source, figures=ALL), source=source))}

        assert names
        assert not any("gpu" in name for name in names)


def test_a_card_that_does_not_say_its_load_still_says_its_memory():
    found = reading(device(figures=Figures(memory_used_bytes=0)))

    told = {name: value for name, _, value in samples(found) if not name.endswith("_state")}

    assert told == {"penstock_gpu_memory_bytes": 1 << 34, "penstock_gpu_memory_used_bytes": 0.0}


def test_every_sample_says_its_source_and_a_lost_card_says_so():
    registry = CollectorRegistry()
    lost = device(1, "GPU-bb", state=DeviceState.LOST)
    registry.register(DeviceCollector(lambda: reading(device(figures=ALL), lost)))

    text = generate_latest(registry).decode()

    assert 'penstock_gpu_busy_share{gpu="0",source="nvml",uuid="GPU-aa"} 0.5' in text
    assert 'penstock_gpu_state{gpu="1",source="nvml",state="lost",uuid="GPU-bb"} 1.0' in text
    assert all('source="nvml"' in line for line in text.splitlines() if not line.startswith("#"))
