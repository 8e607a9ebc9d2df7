"""`bench cache`: what a miss costs and a hit saves, in one process: real submit, store, engine and drain."""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import access, machine, models, tables, worker
from benchmarks.processes import ROOT

KINDS = ("tiny", "medium")
BATCH, WAITING, ROUNDS = 32, 128, 9
JOBS = {"tiny": 1_600, "medium": 256}
INPUTS_OF_ZIPF, SKEW = 1_000, 1.1
WANTED_MISS, WANTED_HIT = 1.03, 5.0
PLAIN, KEPT = "5" * 32, "6" * 32
MODEL = "7" * 32


def run(*, databases: Sequence[str] = ("sqlite", "postgresql"), rounds: int = ROUNDS) -> dict[str, Any]:
    """Each database and model in a process of its own; with and without a cache in turns."""
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # PostgreSQL does not run as root
        report: dict[str, Any] = {"benchmark": "cache", "rounds": rounds, "machine": machine.describe(folder)}
        seen: dict[str, Any] = {}
        report |= {"seen": seen}
        with worker.redis(folder) as redis_url:
            for kind, url in worker.databases(folder):
                for number, model in enumerate(KINDS if kind in databases else ()):
                    print(f"{kind}, {model} ...", file=sys.stderr)
                    seen[f"{kind}, {model}"] = _apart(url(number), redis_url, model, rounds=rounds)
    report["figures"] = _figures(seen)
    return report


def _figures(seen: dict[str, Any]) -> list[dict[str, Any]]:
    found = []
    for name, row in seen.items():
        found.append(_figure(f"a miss, {name}: CPU against no cache", row["miss_ratio"], "<=", WANTED_MISS))
        if "medium" in name:
            found.append(_figure(f"a run of {name} against a hit", row["run_to_hit"], ">=", WANTED_HIT))
    return found


def _figure(name: str, measured: float, sign: str, wanted: float) -> dict[str, Any]:
    is_reached = measured <= wanted if sign == "<=" else measured >= wanted
    return {"name": name, "measured": measured, "sign": sign, "wanted": wanted, "is_reached": is_reached}


def _apart(url: str, redis_url: str, model: str, *, rounds: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as folder:
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.cache", url, redis_url, model, folder, "--rounds", str(rounds)],
            cwd=ROOT,
            env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": folder},
            stdout=subprocess.PIPE,
            check=True,
        )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


class Bench:
    """Two services of one model, of which one keeps its answers, and a drain for each."""

    def __init__(self, url: str, redis_url: str, kind: str, folder: Path) -> None:
        from inference import wiring
        from inference.serving.model import ServiceConfig
        from inference.settings import Settings
        from inference.store.database import Database
        from inference.store.migrate import upgrade
        from inference.telemetry import log

        settings = Settings(data_dir=folder, database_url=url, redis_url=redis_url)
        log.configure(settings, "worker")
        database = Database(url, settings.store)
        upgrade(database)
        database.close()
        self.core = wiring.build(settings)
        self.path = models.make(kind, folder).path
        self.folder = folder
        self.core.registry.models.insert(_model())
        configs = {PLAIN: ServiceConfig(), KEPT: ServiceConfig(coalesce=True, cache_ttl_s=3_600.0)}
        for service_id, config in configs.items():
            service = replace(access.a_service(service_id), model_id=MODEL, name=service_id, config=config)
            self.core.serving.services.insert(service)
        self.drains = {service_id: self._drain(service_id) for service_id in configs}
        self._made = 0

    def _drain(self, service_id: str) -> Any:
        from inference.jobs.cache import variant
        from inference.tensors import NanPolicy

        identity = {"service_id": service_id, "model_id": MODEL, "variant": variant(MODEL, NanPolicy.NULL)}
        return worker.drain_of(self.core, self.path, self.folder, batch=BATCH, stages=None, **identity)

    def new_inputs(self, count: int) -> list[bytes]:
        """None of which was ever sent."""
        import numpy as np

        from inference.tensors import pack

        self._made += 1
        rows = np.random.default_rng(self._made).random((count, 1, models.INPUTS), dtype=np.float32)
        return [pack({"x": row}) for row in rows]

    def send(self, service_id: str, payloads: Sequence[bytes]) -> int:
        """In commits of a batch's size, as they gather under load; how many hits."""
        from inference.access.model import ANYBODY
        from inference.jobs.model import JobSpec
        from inference.jobs.submit import submit

        hits = 0
        for first in range(0, len(payloads), BATCH):
            specs = [JobSpec(payload=one, rows=1, bucket="") for one in payloads[first : first + BATCH]]
            hits += len(submit(self.core.jobs, by=ANYBODY, service_id=service_id, specs=specs).cached_ids)
        return hits

    def work(self, service_id: str) -> None:
        """Until nothing waits."""
        self.drains[service_id].work(until_s=time.monotonic() + 600)

    def cpu_us(self, service_id: str, payloads: Sequence[bytes]) -> float:
        """Of a job, from submission to end, in this process and the database's server; a few batches wait."""
        began, server = time.process_time(), worker.server_cpu_s()
        for first in range(0, len(payloads), WAITING):
            self.send(service_id, payloads[first : first + WAITING])
            self.work(service_id)
        took_s = time.process_time() - began + worker.server_cpu_s() - server
        if self.core.jobs.store.has_waiting(service_id):
            raise SystemExit("Jobs were left over.")
        return took_s / len(payloads) * 1e6


def _model() -> Any:
    from inference.registry.model import ModelState, ModelVersion, Signature
    from inference.tensors import TensorSpec

    x = (TensorSpec(name="x", dtype="float32", shape=(None, models.INPUTS)),)
    y = (TensorSpec(name="y", dtype="float32", shape=(None, None)),)
    return ModelVersion(
        id=MODEL,
        tenant_id="default",
        name="bench",
        version="1.0.0",
        framework="onnx",
        state=ModelState.REGISTERED,
        sha256="0" * 64,
        size_bytes=1,
        golden="0" * 64,
        signature=Signature(inputs=x, outputs=y, engine_inputs=x, engine_outputs=y),
    )


def measure(url: str, redis_url: str, kind: str, folder: Path, *, rounds: int) -> dict[str, Any]:
    """CPU of a job without a cache, of a miss and of a hit, in turns; and a skewed mix of inputs with and without."""
    bench, jobs = Bench(url, redis_url, kind, folder), JOBS[kind]
    try:
        known = bench.new_inputs(jobs)
        for service_id in (PLAIN, KEPT):
            bench.cpu_us(service_id, known)
        seen: dict[str, list[float]] = {"plain": [], "miss": [], "hit": []}
        for number in range(rounds):
            # In turns, and each first as often as last: the machine and the tables change meanwhile.
            for service_id, name in ((PLAIN, "plain"), (KEPT, "miss"))[:: 1 if number % 2 else -1]:
                seen[name].append(bench.cpu_us(service_id, bench.new_inputs(jobs)))
            seen["hit"].append(bench.cpu_us(KEPT, known))
        ratios = [miss / plain for miss, plain in zip(seen["miss"], seen["plain"], strict=True)]
        found: dict[str, Any] = {name: round(statistics.median(values), 1) for name, values in seen.items()}
        found["miss_ratio"] = round(statistics.median(ratios), 3)
        found["run_to_hit"] = round(found["plain"] / found["hit"], 1)
        return found | {"zipf": _zipf(bench, jobs)}
    finally:
        bench.core.close()


def _zipf(bench: Bench, jobs: int) -> dict[str, float]:
    """Inputs of which a few are frequent, sent a batch at a time and run."""
    import numpy as np

    inputs = bench.new_inputs(INPUTS_OF_ZIPF)
    weights = 1 / np.arange(1, len(inputs) + 1) ** SKEW
    chosen = np.random.default_rng(5).choice(len(inputs), size=2 * jobs, p=weights / weights.sum())
    sent = [inputs[number] for number in chosen]
    cpu, hits = dict[str, float](), 0
    for service_id in (PLAIN, KEPT):
        began, server = time.process_time(), worker.server_cpu_s()
        for first in range(0, len(sent), BATCH):
            hits += bench.send(service_id, sent[first : first + BATCH])
            bench.work(service_id)
        cpu[service_id] = (time.process_time() - began + worker.server_cpu_s() - server) / len(sent) * 1e6
    return {
        "jobs": len(sent),
        "inputs": len(set(sent)),
        "hit_ratio": round(hits / len(sent), 3),
        "plain_us": round(cpu[PLAIN], 1),
        "kept_us": round(cpu[KEPT], 1),
    }


def show(report: dict[str, Any], console: Console) -> None:
    """The machine, CPU of each kind of job, and the figures."""
    tables.show_machine(report["machine"], console)
    table = Table(title=f"CPU us a job, submission to end, batches of {BATCH}; the middle of {report['rounds']} rounds")
    titles = ("", "no cache", "miss", "ratio", "hit", "run / hit", "Zipf: no cache", "cache", "hits")
    for title in titles:
        table.add_column(title, justify="right" if title else "left")
    for name, row in report["seen"].items():
        zipf = row["zipf"]
        table.add_row(
            name,
            *(f"{row[one]:,.0f}" for one in ("plain", "miss")),
            f"{row['miss_ratio']:.3f}",
            f"{row['hit']:,.0f}",
            f"{row['run_to_hit']:.1f}",
            f"{zipf['plain_us']:,.0f}",
            f"{zipf['kept_us']:,.0f}",
            f"{zipf['hit_ratio']:.0%}",
        )
    console.print(table)
    tables.show_figures(report["figures"], console)


def main() -> int:
    """One measurement, for `run`: prints its figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("url", "redis_url", "model"):
        parser.add_argument(name)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args()
    found = measure(options.url, options.redis_url, options.model, options.folder, rounds=options.rounds)
    print(json.dumps(found))  # the last line; what was logged stands before it
    return 0


if __name__ == "__main__":
    sys.exit(main())
