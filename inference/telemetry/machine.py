"""What the machine of a node is doing: CPU and memory, read when somebody scrapes."""

from collections.abc import Iterable

import psutil
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

CPU_SECONDS = "penstock_machine_cpu_seconds"
GAUGES = {
    "penstock_machine_memory_bytes": ("Memory of the machine", ()),
    "penstock_machine_memory_used_bytes": ("Memory that cannot be given to somebody else", ()),
}


class MachineCollector(Collector):
    """The figures of this machine; in a container, too, they are the machine's and not the container's."""

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
        ]
        return [seconds, *_families(samples)]


def _families(samples: Iterable[tuple[str, tuple[str, ...], float]]) -> list[Metric]:
    families = {name: GaugeMetricFamily(name, text, labels=labels) for name, (text, labels) in GAUGES.items()}
    for name, labels, value in samples:
        families[name].add_metric(labels, value)
    return [family for family in families.values() if family.samples]
