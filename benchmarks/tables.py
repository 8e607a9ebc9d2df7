"""The reports as tables for people."""

from typing import Any

from rich.console import Console
from rich.table import Table


def show_jobs(report: dict[str, Any], console: Console) -> None:
    """The machine in one line, then a table per model, then the figures that must be reached."""
    show_machine(report["machine"], console)
    generator = report["generator"]
    console.print(
        f"Generator alone: {generator['per_s']:,.0f} requests/s, "
        f"{generator['times_fastest_submit']:.1f} times the fastest submit rate below."
    )
    for kind, part in report["models"].items():
        console.print(_model_table(kind, part))
        for name, system in part["systems"].items():
            console.print(f"  [dim]{name}: {_pairs(system['settings'])}[/dim]", highlight=False)
    show_figures(report["figures"], console)


def show_machine(machine: dict[str, Any], console: Console) -> None:
    """One line that says where this was measured."""
    console.print(
        f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB, Python {machine['python']}, "
        f"{machine['disk']} with fdatasync p50 {machine['fdatasync_ms']['p50']} ms, commit {machine['commit']}, "
        f"{machine['at']}; {machine['busy_share_before']:.0%} busy before the start.",
        highlight=False,
    )


def _model_table(kind: str, part: dict[str, Any]) -> Table:
    bare = ", ".join(f"{rate:,.0f} at {size}" for size, rate in part["bare_rows_per_s"].items())
    table = Table(title=f"{kind} model (bare session.run on one core, rows/s by batch: {bare})")
    table.add_column("")
    systems = part["systems"]
    for name in systems:
        table.add_column(name, justify="right")
    table.add_column("ratio", justify="right")
    ratios = part["ratios"]
    rows = {
        "submit to done, jobs/s": ("done_per_s", "{:,.0f}", "done"),
        "submitted, jobs/s": ("submit_per_s", "{:,.0f}", "submit"),
        "CPU s per 1,000 jobs": ("cpu_s_per_1000", "{:.2f}", "cpu"),
        "jobs per engine call": ("batch_mean", "{:.1f}", ""),
        "largest batch": ("batch_max", "{}", ""),
    }
    for title, (key, form, ratio) in rows.items():
        cells = [form.format(system[key]) for system in systems.values()]
        table.add_row(title, *cells, f"{ratios[ratio]:.2f}x" if ratio in ratios else "")
    for number, seen in enumerate(next(iter(systems.values()))["rates"]):
        latencies = [_latency(system["rates"][number]) for system in systems.values()]
        table.add_row(f"at {seen['rate']:.0f}/s: p50 / p95 / p99 ms", *(client for client, _ in latencies), "")
        table.add_row("  by the server's clock", *(server for _, server in latencies), "", style="dim")
    return table


def _latency(seen: dict[str, Any]) -> tuple[str, str]:
    if "skipped" in seen:
        return "above capacity", ""
    return _three(seen["done_ms"]), _three(seen["server_ms"])


def _three(quantiles: dict[str, float]) -> str:
    return " / ".join(f"{quantiles[name]:.1f}" for name in ("p50", "p95", "p99"))


def _pairs(settings: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in settings.items())


def show_figures(figures: list[dict[str, Any]], console: Console) -> None:
    """Each figure to reach, what was measured, and whether it was reached."""
    table = Table(title="figures to reach")
    for title in ("figure", "wanted", "measured", ""):
        table.add_column(title, justify="left" if title in ("figure", "") else "right")
    for row in figures:
        mark = "[green]yes[/green]" if row["is_reached"] else "[red]no[/red]"
        table.add_row(row["name"], f"{row['sign']} {row['wanted']:g}", f"{row['measured']:.2f}", mark)
    console.print(table)


def show_rows(title: str, rows: dict[str, str], console: Console) -> None:
    """A plain table of names and values."""
    table = Table(title=title, show_header=False)
    table.add_column("")
    table.add_column("", justify="right")
    for name, value in rows.items():
        table.add_row(name, value)
    console.print(table)


def show_idle(report: dict[str, Any], console: Console) -> None:
    """CPU and memory of each role, then the figure."""
    show_machine(report["machine"], console)
    table = Table(title=f"at rest for {report['seconds']:.0f} s, one small service")
    for title in ("role", "processes", "% of a core", "PSS MB"):
        table.add_column(title, justify="left" if title == "role" else "right")
    for role, part in report["roles"].items():
        table.add_row(role, f"{part['processes']:.0f}", f"{part['cpu_share'] * 100:.2f}", f"{part['pss_mb']:.0f}")
    count = sum(part["processes"] for part in report["roles"].values())
    table.add_section()
    table.add_row("all", f"{count:.0f}", f"{report['cpu_share_of_a_core'] * 100:.2f}", f"{report['pss_mb']:.0f}")
    console.print(table)
    show_figures(report["figures"], console)


def show_start(report: dict[str, Any], console: Console) -> None:
    """Each time that was taken, then the figures."""
    show_machine(report["machine"], console)
    rows = {name: ", ".join(f"{value:.2f} s" for value in values) for name, values in report["seen"].items()}
    rows["`up` to first answer"] = f"{report['up_to_first_answer_s']:.2f} s"
    show_rows("start and recovery", rows, console)
    show_figures(report["figures"], console)
