"""`bench worker`: CPU of the worker per job by stage, in one process: real store, engine, drain and hot copies."""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

from benchmarks import access, machine, models, systems, tables
from benchmarks.processes import ROOT, free_port, stop

STAGES = ("claim", "decode", "run", "encode", "finish", "tell", "rest")
BATCHES = (8, 32, 64)
JOBS = 8_000
LONE = 300
WANTED_US, WANTED_AT = 90.0, 32


def run(*, jobs: int) -> dict[str, Any]:
    """Drains so many jobs of the tiny model for each database and batch size, each in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # PostgreSQL does not run as root
        report: dict[str, Any] = {"benchmark": "worker", "jobs": jobs, "machine": machine.describe(folder), "seen": {}}
        model = models.make("tiny", folder).path
        with redis(folder) as redis_url:
            for kind, url in databases(folder):
                seen = report["seen"][kind] = {}
                for batch in BATCHES:
                    print(f"{kind}, batch {batch} ...", file=sys.stderr)
                    seen[str(batch)] = _apart(url(batch), redis_url, model, batch=batch, jobs=jobs)
    whole = report["seen"]["sqlite"][str(WANTED_AT)]["cpu_us"]["all"]
    report["figures"] = [
        {
            "name": f"CPU a job at batch {WANTED_AT}, SQLite, us",
            "measured": whole,
            "sign": "<=",
            "wanted": WANTED_US,
            "is_reached": whole <= WANTED_US,
        }
    ]
    return report


@contextmanager
def redis(folder: Path) -> Iterator[str]:
    """The URL of a Valkey of its own."""
    (folder / "valkey").mkdir()
    port = free_port()
    process = systems.valkey(folder / "valkey", port)
    try:
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        stop([process])


def databases(folder: Path) -> Iterator[tuple[str, Callable[[int], str]]]:
    """A fresh database for each batch size; PostgreSQL where the wheel is installed."""
    yield "sqlite", lambda batch: f"sqlite:///{folder}/worker-{batch}.db"
    from tests.services import Missing, Postgres

    with suppress(Missing):
        server = Postgres(folder / "postgres", fsync="on")
        server.start()
        try:
            yield "postgresql", lambda batch: _create(server.url, f"worker_{batch}")
        finally:
            server.stop()


def _create(url: str, name: str) -> str:
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    return f"{url.rpartition('/')[0]}/{name}"


def _apart(url: str, redis_url: str, model: Path, *, batch: int, jobs: int) -> dict[str, Any]:
    """The same in a process of its own, with the files of figures that a worker has."""
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as folder:
        words = [url, redis_url, str(model), folder, "--batch", str(batch), "--jobs", str(jobs)]
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.worker", *words],
            cwd=ROOT,
            env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": folder},
            stdout=subprocess.PIPE,
            check=True,
        )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


class Stages:
    """CPU seconds by stage. A stage inside another is taken off the outer one."""

    def __init__(self) -> None:
        self.spent_s = dict.fromkeys(STAGES, 0.0)

    def timed(self, stage: str, work: Callable[..., Any], *, inside: str = "") -> Callable[..., Any]:
        def timed(*args: Any, **named: Any) -> Any:
            began = time.thread_time()
            try:
                return work(*args, **named)
            finally:
                took = time.thread_time() - began
                self.spent_s[stage] += took
                if inside:
                    self.spent_s[inside] -= took

        return timed


def measure(url: str, redis_url: str, model: Path, folder: Path, *, batch: int, jobs: int) -> dict[str, Any]:
    """CPU microseconds a job by stage, and the way of one job alone through a drain that finds nothing else."""
    from inference import wiring
    from inference.settings import Settings
    from inference.store.database import Database
    from inference.store.migrate import upgrade
    from inference.telemetry import log

    settings = Settings(data_dir=folder, database_url=url, redis_url=redis_url)
    log.configure(settings, "worker")
    database = Database(url, settings.store)
    upgrade(database)
    database.close()
    core = wiring.build(settings)
    try:
        core.serving.services.insert(access.a_service(SERVICE))
        drain = drain_of(core, model, folder, batch=batch, stages=None)
        _insert(core, 10 * batch)
        drain.work(until_s=time.monotonic() + 600)
        found = _whole(core, drain, jobs)
        stages = Stages()
        drain = drain_of(core, model, folder, batch=batch, stages=stages)
        _insert(core, jobs)
        began = time.process_time()
        drain.work(until_s=time.monotonic() + 600)
        whole_s = time.process_time() - began
        stages.spent_s["rest"] = whole_s - sum(stages.spent_s.values())
        found["by_stage_us"] = {stage: round(spent / jobs * 1e6, 1) for stage, spent in stages.spent_s.items()}
        found["alone"] = _alone(core, drain)
        return found
    finally:
        core.close()


def _whole(core: Any, drain: Any, jobs: int) -> dict[str, Any]:
    """Without the clocks of the stages; the database server's own CPU apart."""
    _insert(core, jobs)
    server_s, cpu, began = server_cpu_s(), time.process_time(), time.perf_counter()
    drain.work(until_s=time.monotonic() + 600)
    wall_s, cpu_s = time.perf_counter() - began, time.process_time() - cpu
    counted = core.jobs.store.counts()
    left = sum(count for (_, state), count in counted.items() if state in ("pending", "running"))
    if left:
        raise SystemExit(f"{left} jobs were left over.")
    return {
        "cpu_us": {
            "all": round(cpu_s / jobs * 1e6, 1),
            "database server": round((server_cpu_s() - server_s) / jobs * 1e6, 1),
        },
        "jobs_per_s": round(jobs / wall_s),
    }


def server_cpu_s() -> float:
    """CPU seconds of the PostgreSQL that our parent started, all of its processes."""
    parent = psutil.Process().parent()
    if parent is None:
        return 0.0
    servers = [each for each in parent.children(recursive=True) if each.name().startswith("postgres")]
    return sum(times.user + times.system for each in servers if (times := each.cpu_times()))


def _alone(core: Any, drain: Any) -> dict[str, float]:
    """One job at a time: milliseconds and CPU from the commit of its row to the end of the drain."""
    walls, cpu = [], 0.0
    for _ in range(LONE):
        _insert(core, 1)
        began, cpu_began = time.perf_counter(), time.process_time()
        drain.work(until_s=time.monotonic() + 10)
        walls.append(time.perf_counter() - began)
        cpu += time.process_time() - cpu_began
    walls.sort()
    return {"p50_ms": round(walls[LONE // 2] * 1000, 2), "cpu_us": round(cpu / LONE * 1e6, 1)}


def drain_of(
    core: Any,
    model: Path,
    folder: Path,
    *,
    batch: int,
    stages: "Stages | None",
    service_id: str = "",
    **identity: str,
) -> Any:
    """A drain as the engine child has it, timed by stage if asked for. `identity`: further fields of its claimant."""
    from dataclasses import replace

    from inference.engines import hooks
    from inference.engines.base import LoadSpec
    from inference.engines.onnx import OnnxEngine
    from inference.jobs import execute
    from inference.jobs.drain import Drain
    from inference.jobs.model import Claimant
    from inference.store import jobs_claim, jobs_finish
    from workers.batch_runner import Instance
    from workers.progress import Reports
    from workers.pulse import Pulse

    service_id = service_id or SERVICE
    instance_id, generation = core.serving.instances.open(
        service_id=service_id, replica_id=service_id, slot=1, replica_generation=1, pid=os.getpid(), lease_s=3600
    )
    engine: Any = OnnxEngine.load(LoadSpec(path=model))
    ports, encode, execute_run = core.jobs, execute.to_json, engine.run
    if stages is not None:
        engine.run = stages.timed("run", execute_run)
        ports = replace(
            ports,
            store=_Timed(ports.store, claim=stages.timed("claim", ports.store.claim)),
            hot=_Timed(ports.hot, put=stages.timed("tell", ports.hot.put)),
        )
        ports.store.finish = stages.timed("finish", core.jobs.store.finish)
        jobs_finish.claim = stages.timed("claim", jobs_claim.claim, inside="finish")  # type: ignore[assignment]
        execute.to_json = stages.timed("encode", encode)  # type: ignore[attr-defined]
    instance: Any = Instance(
        claimant=Claimant(
            service_id=service_id,
            instance_id=instance_id,
            generation=generation,
            worker="bench#1",
            model_version="1.0.0",
            **identity,
        ),
        engine=engine,
        hooks=hooks.compile(None),
        record=Pulse(folder / "pulse").record(1),
        settings=core.settings.jobs,
        max_rows=batch,
        max_wait_s=0.0,
        ahead_below_s=core.settings.workers.claim_ahead_ms / 1000,
        now_s=core.jobs.store.now_s,
        on_told=lambda outcomes, moved: None,
        reports=Reports(core.progress, now_s=core.jobs.store.now_s),
    )
    if stages is not None:
        instance = _Timed(instance, prepare=stages.timed("decode", instance.prepare))
    return Drain(ports, instance, "default")


SERVICE = "5" * 32


class _Timed:
    """Another object, some of whose methods are timed."""

    def __init__(self, inner: Any, **methods: Callable[..., Any]) -> None:
        self.__dict__.update(methods)
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def _insert(core: Any, count: int) -> None:
    import numpy as np

    from inference.tensors import pack
    from tests.contract import jobs

    payloads = [pack({"x": row}) for row in np.random.default_rng(1).random((64, 1, 64), dtype=np.float32)]
    now = core.jobs.store.now_s()
    for first in range(0, count, 200):
        some = [
            jobs.job(service_id=SERVICE, order_key=now + number * 1e-6, payload=payloads[number % len(payloads)])
            for number in range(first, min(first + 200, count))
        ]
        answers = core.jobs.store.insert([jobs.alone(one) for one in some])
        if refused := [answer for answer in answers if isinstance(answer, Exception)]:
            raise SystemExit(str(refused[0]))


def show(report: dict[str, Any], console: Console) -> None:
    """The machine, a table per database, and whether the figure was reached.

    `bare`: without the clocks of the stages; `server`: the database server's own; `one`: a job all alone.
    """
    tables.show_machine(report["machine"], console)
    for kind, seen in report["seen"].items():
        table = Table(title=f"{kind}: CPU us a job by stage, {report['jobs']:,} jobs of the tiny model")
        for title in ("batch", *STAGES, "all", "bare", "server", "jobs/s", "one, ms", "one, us"):
            table.add_column(title, justify="right")
        for batch, row in seen.items():
            stages: Sequence[float] = [row["by_stage_us"][stage] for stage in STAGES]
            alone = row["alone"]
            table.add_row(
                batch,
                *(f"{value:.1f}" for value in (*stages, sum(stages))),
                *(f"{row['cpu_us'][name]:.1f}" for name in ("all", "database server")),
                f"{row['jobs_per_s']:,}",
                f"{alone['p50_ms']:.2f}",
                f"{alone['cpu_us']:.0f}",
            )
        console.print(table)
    tables.show_figures(report["figures"], console)


def main() -> int:
    """One measurement, for `run`: prints its figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("url", "redis_url"):
        parser.add_argument(name)
    for name in ("model", "folder"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--jobs", type=int, default=JOBS)
    options = parser.parse_args()
    found = measure(
        options.url, options.redis_url, options.model, options.folder, batch=options.batch, jobs=options.jobs
    )
    print(json.dumps(found))  # the last line; what was logged stands before it
    return 0


if __name__ == "__main__":
    sys.exit(main())
