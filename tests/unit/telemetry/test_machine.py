"""The figures of a node's machine."""

from prometheus_client import CollectorRegistry, generate_latest

from inference.telemetry.machine import CPU_SECONDS, GAUGES, Card, MachineCollector, of_cards


def test_a_card_that_does_not_say_its_load_still_says_its_memory() -> None:
    card = Card(
        index=1,
        uuid="GPU-5",
        busy_share=None,
        memory_bytes=80,
        memory_used_bytes=0,
        temperature_c=None,
        power_w=None,
    )

    assert list(of_cards([card])) == [
        ("penstock_gpu_memory_bytes", ("1", "GPU-5"), 80),
        ("penstock_gpu_memory_used_bytes", ("1", "GPU-5"), 0),
    ]


def test_every_figure_of_a_card_is_a_declared_metric() -> None:
    card = Card(
        index=0,
        uuid="GPU-5",
        busy_share=0.5,
        memory_bytes=80,
        memory_used_bytes=8,
        temperature_c=40.0,
        power_w=300.0,
    )

    named = {name for name, _, _ in of_cards([card])}

    assert named == {name for name in GAUGES if name.startswith("penstock_gpu_")}


def test_the_machine_shows_its_cpu_time_and_its_memory() -> None:
    registry = CollectorRegistry()
    registry.register(MachineCollector())

    text = generate_latest(registry).decode()

    figures = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert float(figures[f'{CPU_SECONDS}_total{{mode="busy"}}']) > 0
    used, total = (float(figures[f"penstock_machine_memory_{name}bytes"]) for name in ("used_", ""))
    assert 0 < used < total
