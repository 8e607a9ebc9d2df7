"""What the machine of a node is doing: CPU, memory and NVIDIA cards, read when somebody scrapes."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

import psutil
import pynvml
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

CPU_SECONDS = "penstock_machine_cpu_seconds"
GAUGES = {
    "penstock_machine_memory_bytes": ("Memory of the machine", ()),
    "penstock_machine_memory_used_bytes": ("Memory that cannot be given to somebody else", ()),
    "penstock_gpu_busy_share": ("Share of the time in which a kernel ran on the card", ("gpu", "uuid")),
    "penstock_gpu_memory_bytes": ("Memory of the card", ("gpu", "uuid")),
    "penstock_gpu_memory_used_bytes": ("Memory of the card that is in use, by whomever", ("gpu", "uuid")),
    "penstock_gpu_temperature_celsius": ("Temperature of the card", ("gpu", "uuid")),
    "penstock_gpu_power_watts": ("Power that the card draws", ("gpu", "uuid")),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One NVIDIA card as NVML sees it now. None: the card does not say."""

    index: int
    uuid: str
    busy_share: float | None
    memory_bytes: int | None
    memory_used_bytes: int | None
    temperature_c: float | None
    power_w: float | None


class MachineCollector(Collector):
    """The figures of this machine and of the cards that NVML shows; without NVML there are no cards.

    In a container, CPU and memory are the machine's, not the container's.
    """

    def collect(self) -> Iterable[Metric]:
        cpu = psutil.cpu_times()
        idle_s = cpu.idle + getattr(cpu, "iowait", 0.0)
        # guest time is counted in user time already
        all_s = sum(cpu) - getattr(cpu, "guest", 0.0) - getattr(cpu, "guest_nice", 0.0)
        seconds = CounterMetricFamily(CPU_SECONDS, "CPU time of all cores", labels=("mode",))
        seconds.add_metric(("busy",), all_s - idle_s)
        seconds.add_metric(("idle",), idle_s)
        memory = psutil.virtual_memory()
        samples = [
            ("penstock_machine_memory_bytes", (), memory.total),
            ("penstock_machine_memory_used_bytes", (), memory.total - memory.available),
            *of_cards(cards()),
        ]
        return [seconds, *_families(samples)]


def of_cards(found: Sequence[Card]) -> Iterator[tuple[str, tuple[str, ...], float]]:
    """(metric, label values, value) of what each card says."""
    for card in found:
        figures = {
            "penstock_gpu_busy_share": card.busy_share,
            "penstock_gpu_memory_bytes": card.memory_bytes,
            "penstock_gpu_memory_used_bytes": card.memory_used_bytes,
            "penstock_gpu_temperature_celsius": card.temperature_c,
            "penstock_gpu_power_watts": card.power_w,
        }
        for name, value in figures.items():
            if value is not None:
                yield name, (str(card.index), card.uuid), value


def cards() -> list[Card]:
    """The cards that NVML shows, in its order; none where there is no driver. Never touches CUDA."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    try:
        return [_card(index) for index in range(pynvml.nvmlDeviceGetCount())]
    except pynvml.NVMLError:
        return []
    finally:
        with suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()


def _card(index: int) -> Card:
    handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    busy = memory = temperature = power = None
    with suppress(pynvml.NVMLError):
        busy = pynvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100
    with suppress(pynvml.NVMLError):
        memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
    with suppress(pynvml.NVMLError):
        temperature = float(pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU))
    with suppress(pynvml.NVMLError):
        power = pynvml.nvmlDeviceGetPowerUsage(handle) / 1000
    return Card(
        index=index,
        uuid=str(pynvml.nvmlDeviceGetUUID(handle)),
        busy_share=busy,
        memory_bytes=None if memory is None else int(memory.total),
        memory_used_bytes=None if memory is None else int(memory.used),
        temperature_c=temperature,
        power_w=power,
    )


def _families(samples: Iterable[tuple[str, tuple[str, ...], float]]) -> list[Metric]:
    families = {name: GaugeMetricFamily(name, text, labels=labels) for name, (text, labels) in GAUGES.items()}
    for name, labels, value in samples:
        families[name].add_metric(labels, value)
    return [family for family in families.values() if family.samples]
