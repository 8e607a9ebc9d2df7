"""The report of `bench gpu` for people: every figure of the card with its source."""

from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.tables import show_figures, show_machine, show_rows

MIB = 1 << 20
CLOCK = "clock"


def show(report: dict[str, Any], console: Console) -> None:
    """Notes first: they say on what this was measured."""
    show_machine(report["machine"], console)
    for note in report["notes"]:
        console.print(f"[yellow]NOTE[/yellow] {note}", highlight=False)
    _provider(report, console)
    if report["bare"]:
        console.print(_curves(report))
    if report["system"]:
        console.print(_system(report))
    if report["figures"]:
        show_figures(report["figures"], console)
    console.print(f"The whole run took {report['took_s']:.0f} s.", highlight=False)


def _provider(report: dict[str, Any], console: Console) -> None:
    rows: dict[str, str] = {}
    if card := report["card"]:
        rows = {f"card: {name} ({card['source']})": str(value) for name, value in card["facts"].items()}
    else:
        rows["card"] = "none"
    if found := report.get("provider"):
        rows |= {f"{name}, installed": version for name, version in found["versions"].items()}
        rows["ONNX Runtime offers"] = ", ".join(found["offered"])
        rows["a session asked for the best gets"] = found["got"]
        rows |= {f"{name} loaded from": path for name, path in found["libraries"].items()}
        if found["off_by_share"] is not None:
            rows["furthest from the CPU's answer, share"] = f"{found['off_by_share']:.2g}"
    show_rows("provider", rows, console)


def _curves(report: dict[str, Any]) -> Table:
    table = Table(title="bare session.run, one process, one session")
    for title in (
        "model",
        "on",
        "load s",
        "first call ms",
        "rows/s by batch",
        "bound",
        "busy",
        "memory MiB, most",
        "source",
    ):
        table.add_column(title, justify="right" if "s" in title.split() or "ms" in title else "left")
    for kind, bare in report["bare"].items():
        curve = ", ".join(f"{point['rows_per_s']:,.0f} at {point['rows']}" for point in bare["curve"])
        card = bare["card"]
        table.add_row(
            kind,
            bare["got"],
            f"{bare['load_s']:.2f}",
            f"{bare['first_call_s'] * 1000:.1f}",
            curve,
            _beside(bare.get("bound"), bare["curve"]),
            f"{card['busy_share']:.0%}" if card else "not read",
            f"{card['memory_bytes'] / MIB:,.0f}" if card else "not read",
            f"{CLOCK}; card: {card['source']}" if card else CLOCK,
        )
    return table


def _beside(bound: dict[str, float] | None, curve: list[dict[str, float]]) -> str:
    """The engine's bound inputs and outputs over a plain call, at the largest batch."""
    if not bound or not curve:
        return "not taken"
    return f"{bound['rows_per_s']:,.0f} at {bound['rows']:.0f} ({bound['rows_per_s'] / curve[-1]['rows_per_s']:.2f}x)"


def _system(report: dict[str, Any]) -> Table:
    table = Table(title=f"the whole system, one engine; `up` to ready {report['up_s']:.2f} s ({CLOCK})")
    table.add_column("")
    table.add_column("source")
    for kind in report["system"]:
        table.add_column(kind, justify="right")
    for title, source, cells in _rows(report):
        table.add_row(title, source, *cells)
    return table


def _rows(report: dict[str, Any]) -> list[tuple[str, str, list[str]]]:
    found = list(report["system"].items())
    source = report["card"]["source"] if report["card"] else "not read"
    systems = [system for _, system in found]

    def memory(name: str) -> list[str]:
        return ["-" if one[name] is None else f"{one[name] / MIB:,.0f}" for one in systems]

    def card(name: str, form: str) -> list[str]:
        return [form.format(one["card"][name]) if one["card"] and one["card"][name] else "-" for one in systems]

    return [
        ("provider that answers, largest batch", "service", [f"{s['provider']}, {s['max_batch']}" for s in systems]),
        ("jobs", "generator", [f"{s['jobs']['jobs']:,}" for s in systems]),
        ("submit to done, jobs/s", CLOCK, [f"{s['jobs']['done_per_s']:,.0f}" for s in systems]),
        ("share of the bare loop's best rows/s", CLOCK, [_share(report, kind, s) for kind, s in found]),
        ("jobs per engine call", "service", [f"{s['jobs']['batch_mean']:.1f}" for s in systems]),
        ("CPU s per 1,000 jobs", "kernel", [f"{s['jobs']['cpu_s_per_1000']:.2f}" for s in systems]),
        ("card busy, mean (any kernel running)", source, card("busy_share", "{:.0%}")),
        ("card's power, most, W", source, card("power_w", "{:.0f}")),
        ("card's memory before load, MiB", source, memory("memory_before_bytes")),
        ("  loaded", source, memory("memory_loaded_bytes")),
        ("  most under load", source, [_most(one) for one in systems]),
        ("  after unload", source, memory("memory_after_bytes")),
        ("register (checks, trial run), s", CLOCK, [f"{s['register_s']:.2f}" for s in systems]),
        ("start call to ready, s", CLOCK, [f"{s['start_s']:.2f}" for s in systems]),
        ("started again, profile known, s", CLOCK, [_again(s) for s in systems]),
    ]  # fmt: skip


def _most(system: dict[str, Any]) -> str:
    return f"{system['card']['memory_bytes'] / MIB:,.0f}" if system["card"] else "-"


def _share(report: dict[str, Any], kind: str, system: dict[str, Any]) -> str:
    best = report["bare"].get(kind, {}).get("best")
    return f"{system['jobs']['done_per_s'] / best['rows_per_s']:.0%}" if best else "-"


def _again(system: dict[str, Any]) -> str:
    return f"{system['restart_s']:.2f}" if "restart_s" in system else "-"
