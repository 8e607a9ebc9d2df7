"""The figures of a node's machine."""

from prometheus_client import CollectorRegistry, generate_latest

from inference.telemetry.machine import CPU_SECONDS, MachineCollector


def test_the_machine_shows_its_cpu_time_and_its_memory() -> None:
    registry = CollectorRegistry()
    registry.register(MachineCollector())

    text = generate_latest(registry).decode()

    figures = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert float(figures[f'{CPU_SECONDS}_total{{mode="busy"}}']) > 0
    used, total = (float(figures[f"penstock_machine_memory_{name}bytes"]) for name in ("used_", ""))
    assert 0 < used < total
