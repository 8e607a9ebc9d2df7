"""`python -m benchmarks.run NAME`: what `./penstock bench NAME` calls. One JSON object on stdout with `--json`."""

import argparse
import dataclasses
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks import (
    access,
    anomalies,
    autoscale,
    autoscale_live,
    backlog,
    bulk,
    cache,
    front,
    idle,
    jobs,
    logs,
    nodes,
    placement,
    predict,
    profile,
    report,
    results,
    scale,
    series,
    servers,
    sockets,
    start,
    tables,
    traces,
    worker,
)
from benchmarks.gpu import measure as gpu
from benchmarks.gpu import show as gpu_tables

OUT = Path(__file__).resolve().parent / "out"


def _jobs(options: argparse.Namespace) -> dict[str, Any]:
    environ = dict(pair.split("=", 1) for pair in options.set)
    plan = jobs.Plan(
        instances=options.instances, environ=environ, patience_s=options.patience, is_preferred=options.prefer
    )
    if options.duration:
        plan = dataclasses.replace(plan, seconds=options.duration)
    if options.quick:
        plan = dataclasses.replace(plan, **jobs.quick(plan))
    if options.jobs:
        plan = dataclasses.replace(plan, jobs=dict.fromkeys(plan.jobs, options.jobs))
    if options.rounds:
        plan = dataclasses.replace(plan, rounds=options.rounds)
    if options.only:
        plan = dataclasses.replace(plan, names=(options.only,))
    if options.model:
        plan = dataclasses.replace(plan, kinds=(options.model,))
    return jobs.run(plan)


def _idle(options: argparse.Namespace) -> dict[str, Any]:
    return idle.run(seconds=options.duration or (10.0 if options.quick else 30.0))


def _start(options: argparse.Namespace) -> dict[str, Any]:
    return start.run(rounds=1 if options.quick else 3)


def _access(options: argparse.Namespace) -> dict[str, Any]:
    return access.run(calls=20_000 if options.quick else access.CALLS)


def _worker(options: argparse.Namespace) -> dict[str, Any]:
    return worker.run(jobs=options.jobs or (2_000 if options.quick else worker.JOBS))


def _backlog(options: argparse.Namespace) -> dict[str, Any]:
    plan = backlog.Plan(many=options.jobs or (200_000 if options.quick else 1_000_000))
    if options.duration:
        plan = dataclasses.replace(plan, open_s=options.duration)
    if options.database:
        plan = dataclasses.replace(plan, databases=(options.database,))
    return backlog.run(plan)


def _bulk(options: argparse.Namespace) -> dict[str, Any]:
    plan = bulk.Plan(jobs=options.jobs or (100_000 if options.quick else 500_000))
    return bulk.run(dataclasses.replace(plan, databases=(options.database,)) if options.database else plan)


def _cache(options: argparse.Namespace) -> dict[str, Any]:
    rounds = options.rounds or (3 if options.quick else cache.ROUNDS)
    return cache.run(databases=(options.database,) if options.database else servers.NAMES, rounds=rounds)


def _profile(options: argparse.Namespace) -> dict[str, Any]:
    kinds = (options.model,) if options.model else ("tiny", "medium")
    return profile.run(kinds, seconds=options.duration or (3.0 if options.quick else 6.0), keep=OUT / "flames")


def _gpu(options: argparse.Namespace) -> dict[str, Any]:
    plan = gpu.Plan(replay=options.replay)
    return gpu.run(dataclasses.replace(plan, **gpu.QUICK) if options.quick else plan)


def _front(options: argparse.Namespace) -> dict[str, Any]:
    return front.run(seconds=options.duration or (1.5 if options.quick else 4.0))


def _predict(options: argparse.Namespace) -> dict[str, Any]:
    kinds = (options.model,) if options.model else predict.KINDS
    rounds = options.rounds or (1 if options.quick else 3)
    return predict.run(kinds, seconds=options.duration or (4.0 if options.quick else 10.0), rounds=rounds)


def _scale(options: argparse.Namespace) -> dict[str, Any]:
    plan = scale.Plan(jobs=options.jobs or (2_000 if options.quick else 8_000))
    return scale.run(dataclasses.replace(plan, kinds=(options.database,)) if options.database else plan)


def _series(options: argparse.Namespace) -> dict[str, Any]:
    plan = series.Plan(rows=200_000, seconds=10) if options.quick else series.Plan()
    return series.run(dataclasses.replace(plan, databases=(options.database,)) if options.database else plan)


def _results(options: argparse.Namespace) -> dict[str, Any]:
    plan = results.Plan(rows=options.jobs or (200_000 if options.quick else 1_000_000), rounds=options.rounds or 20)
    return results.run(dataclasses.replace(plan, databases=(options.database,)) if options.database else plan)


def _sockets(options: argparse.Namespace) -> dict[str, Any]:
    plan = sockets.Plan(sockets=200, seconds=6.0) if options.quick else sockets.Plan()
    return sockets.run(dataclasses.replace(plan, seconds=options.duration) if options.duration else plan)


def _placement(options: argparse.Namespace) -> dict[str, Any]:
    return placement.run(rounds=options.rounds or (3 if options.quick else 9))


def _anomalies(options: argparse.Namespace) -> dict[str, Any]:
    return anomalies.run(days=5 if options.quick else anomalies.DAYS)


def _logs(options: argparse.Namespace) -> dict[str, Any]:
    plan = logs.Plan(rows=100_000, asked=20) if options.quick else logs.Plan()
    return logs.run(dataclasses.replace(plan, databases=(options.database,)) if options.database else plan)


def _report(options: argparse.Namespace) -> dict[str, Any]:
    plan = report.Plan(rows=100_000, rounds=1) if options.quick else report.Plan(rounds=options.rounds or 3)
    return report.run(dataclasses.replace(plan, databases=(options.database,)) if options.database else plan)


def _traces(options: argparse.Namespace) -> dict[str, Any]:
    rounds = options.rounds or (3 if options.quick else traces.ROUNDS)
    return traces.run(submits=500 if options.quick else traces.SUBMITS, rounds=rounds)


def _nodes(options: argparse.Namespace) -> dict[str, Any]:
    return nodes.run(nodes.Plan(jobs=options.jobs or (400 if options.quick else 2_400)))


def _hosts(options: argparse.Namespace) -> dict[str, Any]:
    return nodes.run_hosts(nodes.Plan(jobs=options.jobs or (400 if options.quick else 2_400)))


def _autoscale(options: argparse.Namespace) -> dict[str, Any]:
    try:
        if options.live:
            return autoscale_live.run(options.trace, seconds=options.duration or (30.0 if options.quick else 120.0))
        return autoscale.run(options.trace, is_quick=options.quick)
    except (OSError, ValueError) as error:  # of the file that a person named
        raise SystemExit(f"penstock bench: {error}") from error


def _show_autoscale(report: dict[str, Any], console: Console) -> None:
    show = autoscale_live.show if report["benchmark"] == "autoscale_live" else autoscale.show
    show(report, console)


NAMES: dict[str, tuple[Callable[[argparse.Namespace], dict[str, Any]], Callable[[dict[str, Any], Console], None]]] = {
    "jobs": (_jobs, tables.show_jobs),
    "idle": (_idle, tables.show_idle),
    "start": (_start, tables.show_start),
    "access": (_access, access.show),
    "front": (_front, front.show),
    "profile": (_profile, profile.show),
    "worker": (_worker, worker.show),
    "bulk": (_bulk, bulk.show),
    "cache": (_cache, cache.show),
    "backlog": (_backlog, backlog.show),
    "predict": (_predict, predict.show),
    "scale": (_scale, scale.show),
    "series": (_series, series.show),
    "results": (_results, results.show),
    "report": (_report, report.show),
    "logs": (_logs, logs.show),
    "anomalies": (_anomalies, anomalies.show),
    "traces": (_traces, traces.show),
    "sockets": (_sockets, sockets.show),
    "nodes": (_nodes, nodes.show),
    "placement": (_placement, placement.show),
    "hosts": (_hosts, nodes.show),
    "autoscale": (_autoscale, _show_autoscale),
    "gpu": (_gpu, gpu_tables.show),
}


def main() -> int:
    """Runs one benchmark, keeps its report in `benchmarks/out/NAME.json` and shows it. 0 when it was measured."""
    parser = argparse.ArgumentParser(prog="penstock bench", description=__doc__)
    parser.add_argument("name", choices=NAMES)
    parser.add_argument("--json", action="store_true", help="print the report as one JSON object")
    parser.add_argument("--quick", action="store_true", help="a smaller run, for a first look")
    parser.add_argument("--only", choices=("penstock", "baseline"), help="measure one system alone")
    parser.add_argument("--model", choices=("tiny", "medium"), help="one model alone")
    parser.add_argument("--database", choices=servers.NAMES, help="one database alone, for backlog and scale")
    parser.add_argument("--duration", type=float, metavar="S", help="seconds for each rate, or of rest for idle")
    parser.add_argument("--rounds", type=int, metavar="N", help="throughput runs per system; the middle one counts")
    parser.add_argument("--instances", type=int, default=0, metavar="N", help="engine instances; else tried")
    parser.add_argument("--jobs", type=int, metavar="N", help="jobs in a throughput run")
    parser.add_argument("--patience", type=float, default=0.0, metavar="S", help="wait so long for a quiet machine")
    parser.add_argument("--prefer", action="store_true", help="go before all else on the machine (needs root)")
    parser.add_argument("--replay", type=Path, metavar="REPORT", help="of gpu: a rehearsal with that report's card")
    parser.add_argument("--trace", type=Path, metavar="FILE", help="of autoscale: another trace of Azure's format")
    parser.add_argument("--live", action="store_true", help="of autoscale: through the whole system, on this machine")
    parser.add_argument("--out", type=Path, default=OUT, metavar="FOLDER", help="where the report is kept")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a PENSTOCK_ setting to try")
    options = parser.parse_args()
    measure, show = NAMES[options.name]
    report = measure(options)
    options.out.mkdir(parents=True, exist_ok=True)
    kept = options.out / f"{report['benchmark'] if options.live else options.name}.json"
    kept.write_text(json.dumps(report, indent=1) + "\n")
    if options.json:
        print(json.dumps(report))
    else:
        console = Console(width=None if sys.stdout.isatty() else 120)
        show(report, console)
        console.print(f"Kept in {kept}", highlight=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
