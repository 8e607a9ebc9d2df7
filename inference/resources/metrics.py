"""The figures of devices for Prometheus, as the poller read them last."""

from collections.abc import Callable, Iterable, Iterator

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from inference.resources.model import Device, DeviceState, HostReading, Source

FIGURES = {
    "state": "1 for the state that it is in",
    "busy_share": "Share of the time in which a kernel ran",
    "memory_bytes": "Memory",
    "memory_used_bytes": "Memory that is in use, by whomever",
    "temperature_celsius": "Temperature",
    "power_watts": "Power drawn",
    "throttled": "1 while it runs slower than it could",
    "ecc_corrected_errors": "Corrected memory errors since the driver was loaded",
    "ecc_uncorrected_errors": "Uncorrected memory errors since the driver was loaded",
    "xid_errors": "Error reports (XID) of the driver since the agent began",
}

Sample = tuple[str, tuple[str, ...], float]


class DeviceCollector(Collector):
    """`penstock_gpu_*` of what NVML told, and of nothing else; configured and replayed devices are
    `penstock_device_*`, so that a simulated figure is never taken for a card's.
    """

    def __init__(self, read: Callable[[], HostReading]) -> None:
        self._read = read

    def collect(self) -> Iterable[Metric]:
        families: dict[str, GaugeMetricFamily] = {}
        for name, labels, value in samples(self._read()):
            if name not in families:
                families[name] = _family(name)
            families[name].add_metric(labels, value)
        return families.values()


def _family(name: str) -> GaugeMetricFamily:
    kind = "gpu" if name.startswith("penstock_gpu_") else "device"
    figure = name.removeprefix(f"penstock_{kind}_")
    more = ("state",) if figure == "state" else ()
    text = f"{FIGURES[figure]} (of a {'card' if kind == 'gpu' else 'simulated device'})"
    return GaugeMetricFamily(name, text, labels=(kind, "uuid", "source", *more))


def samples(reading: HostReading) -> Iterator[Sample]:
    """(metric, label values, value) of all that the devices say."""
    for device in reading.devices:
        prefix = "penstock_gpu_" if device.source is Source.NVML else "penstock_device_"
        labels = (str(device.index), device.uuid, device.source.value)
        for state in (DeviceState.OK, DeviceState.LOST):
            yield f"{prefix}state", (*labels, state.value), float(device.state is state)
        for figure, value in _figures(device).items():
            if value is not None:
                yield f"{prefix}{figure}", labels, float(value)


def _figures(device: Device) -> dict[str, float | None]:
    told = device.figures
    busy = told.utilisation_percent
    return {
        "busy_share": None if busy is None else busy / 100,
        "memory_bytes": device.memory_bytes,
        "memory_used_bytes": told.memory_used_bytes,
        "temperature_celsius": told.temperature_c,
        "power_watts": told.power_w,
        "throttled": None if told.throttle is None else float(bool(told.throttle)),
        "ecc_corrected_errors": told.ecc_corrected,
        "ecc_uncorrected_errors": told.ecc_uncorrected,
        "xid_errors": told.xids,
    }
