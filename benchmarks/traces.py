"""`bench traces`: what traces cost a submit and a job, off and on, in one process and without HTTP."""

import asyncio
import dataclasses
import gc
import logging
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import structlog
from rich.console import Console
from rich.table import Table

from benchmarks import machine, tables
from benchmarks.access import a_service
from inference import wiring
from inference.access.model import Scope
from inference.core import Core
from inference.ids import DEFAULT_TENANT, new_id
from inference.jobs.model import Accepted, Claimant, ClaimedJob, JobState, Moved, Outcome, Submission
from inference.jobs.trace import kept
from inference.jobs.traced import NoTraces, traces_of
from inference.registry.model import ModelState, ModelVersion, Signature
from inference.serving.model import Service
from inference.settings import Settings, StoreSettings, TracesSettings
from inference.store.database import Database
from inference.store.migrate import upgrade
from inference.telemetry.otlp import OtlpTracer
from inference.tensors import TensorSpec

SUBMITS, ROUNDS, BATCH = 2_000, 9, 32
WANTED_OFF_US = 0.02
"""Of a job in a batch of 32: what the calls of nobody's traces may cost it."""
BODY = b'{"input_data": {"x": [1.0, 2.0]}}'
MOVED: dict[str, Moved] = {}
WAYS = ("off", "on, not sampled", "on, sampled")


class _Directory:
    def __init__(self, service: Service, model: ModelVersion) -> None:
        self._found = service, model

    def find(self, _scope: Scope, _service_id: str) -> tuple[Service, ModelVersion]:
        return self._found


class _Commit:
    """Takes what is prepared, and keeps nothing: a commit costs the same with traces and without."""

    def put(self, submission: Submission) -> "asyncio.Future[Accepted]":
        future: asyncio.Future[Accepted] = asyncio.get_running_loop().create_future()
        future.set_result(Accepted(job_ids=(submission.jobs[0].id,), created_at=1.0))
        return future


def run(*, submits: int, rounds: int) -> dict[str, Any]:
    """CPU microseconds, the middle of rounds in which the ways take turns."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as name:
        folder = Path(name)
        report: dict[str, Any] = {"benchmark": "traces", "submits": submits, "rounds": rounds}
        report["machine"] = machine.describe(folder)
        settings = Settings(data_dir=folder, database_url=f"sqlite:///{folder}/bench.db")
        database = Database(settings.database_url, StoreSettings())
        upgrade(database)
        database.close()
        core = wiring.build(settings)
        try:
            report["submit"] = asyncio.run(_submits(core, submits, rounds))
        finally:
            core.close()
    report["job"] = _jobs(rounds)
    report["figures"] = [
        {
            "name": "traces off, a job in a batch of 32, CPU us",
            "measured": report["job"]["off"],
            "sign": "<",
            "wanted": WANTED_OFF_US,
            "is_reached": report["job"]["off"] < WANTED_OFF_US,
        }
    ]
    return report


def _tracer() -> OtlpTracer:
    """Samples what clients want, and sends to nobody."""
    settings = TracesSettings(endpoint="http://nobody", sample=0.0, queue=1_000_000)
    return OtlpTracer(
        settings, now_s=time.time, make_export=lambda: (lambda _: None, lambda: None), count=lambda *_: None
    )


async def _submits(core: Core, submits: int, rounds: int) -> dict[str, float]:
    from api.live.fast import Fast
    from api.live.submit import Submits
    from api.live.traced import Traced

    service = a_service(new_id())
    specs = (TensorSpec(name="x", dtype="float32", shape=(None, 2)),)
    model = ModelVersion(
        id=service.model_id,
        tenant_id=DEFAULT_TENANT,
        name="bench",
        version="1.0.0",
        framework="onnx",
        state=ModelState.REGISTERED,
        sha256="",
        size_bytes=0,
        golden="",
        signature=Signature(inputs=specs, outputs=specs, engine_inputs=specs, engine_outputs=specs),
    )
    tracer, callers = _tracer(), {}
    for way in WAYS:
        jobs = dataclasses.replace(
            core.jobs, directory=_Directory(service, model), traces=None if way == "off" else tracer
        )
        fast = Fast(_nowhere, dataclasses.replace(core, jobs=jobs))
        fast.add(Submits(dataclasses.replace(core, jobs=jobs), _Commit(), fast).route())  # type: ignore[arg-type]
        headers = [(b"content-type", b"application/json"), (b"host", b"127.0.0.1")]
        if way == WAYS[2]:
            headers.append((b"traceparent", b"00-" + b"ab" * 16 + b"-" + b"cd" * 8 + b"-01"))
        callers[way] = fast if way == "off" else Traced(fast, tracer, fast.aside), _scope(service.id, headers)
    found: dict[str, list[float]] = {way: [] for way in WAYS}
    for _ in range(rounds):
        for way, (application, scope) in callers.items():
            gc.collect()
            began = time.thread_time()
            for _ in range(submits):
                await application(scope, _body, _expect)
            found[way].append((time.thread_time() - began) / submits * 1e6)
    tracer.close()
    return {way: round(median(times), 2) for way, times in found.items()}


def _scope(service_id: str, headers: list[tuple[bytes, bytes]]) -> dict[str, Any]:
    return {
        "type": "http",
        "method": "POST",
        "path": f"/api/v1/inference/services/{service_id}/tasks",
        "query_string": b"",
        "headers": headers,
        "client": ("127.0.0.1", 1),
    }


async def _nowhere(*_: Any) -> None:
    raise AssertionError("the route was not found")


async def _body() -> dict[str, Any]:
    return {"type": "http.request", "body": BODY, "more_body": False}


async def _expect(message: Any) -> None:
    if message.get("status", 202) != 202:
        raise AssertionError(message)


def _jobs(rounds: int) -> dict[str, float]:
    """What a drain does for traces, of one job in a batch."""
    tracer = _tracer()
    by = Claimant(service_id="s", instance_id="i", generation=1, worker="w", model_version="1.0.0")
    plain, traced = _batch(None), _batch(kept(None, tracer.root()))
    ways = {
        "off": _cost(_drain(traces_of(None, by), plain), rounds),
        "on, not sampled": _cost(_drain(traces_of(tracer, by), plain), rounds),
        "on, sampled": _cost(_drain(traces_of(tracer, by), traced), rounds, calls=200),
    }
    tracer.close()
    return {way: round(cost / BATCH, 4) for way, cost in ways.items()}


def _batch(metadata_json: str | None) -> list[Outcome]:
    jobs = [
        ClaimedJob(
            id=new_id(),
            tenant_id=DEFAULT_TENANT,
            attempt=1,
            max_attempts=3,
            priority=0,
            bucket="",
            rows=1,
            crashes=0,
            submitted_at=1.0,
            claimed_at=2.0,
            deadline=None,
            timeout_s=30.0,
            metadata_json=metadata_json,
            payload=b"",
        )
        for _ in range(BATCH)
    ]
    return [
        Outcome(job=job, state=JobState.COMPLETED, started_at=2.0, ended_at=3.0, batch_size=BATCH, result=b"1")
        for job in jobs
    ]


def _drain(traces: NoTraces, outcomes: list[Outcome]) -> Callable[[], None]:
    """What is called for one batch."""
    jobs = [outcome.job for outcome in outcomes]

    def drain() -> None:
        traces.begin()
        traces.claimed(jobs)
        with traces.within(jobs):
            pass
        traces.ran(outcomes)
        traces.begin()
        traces.finished(outcomes, MOVED)

    return drain


def _cost(call: Callable[[], object], rounds: int, *, calls: int = 2_000) -> float:
    """CPU microseconds of a call."""
    found = []
    for _ in range(rounds):
        began = time.thread_time()
        for _ in range(calls):
            call()
        found.append((time.thread_time() - began) / calls * 1e6)
    return median(found)


def show(report: dict[str, Any], console: Console) -> None:
    """The machine, both tables in one, and the figure to reach."""
    tables.show_machine(report["machine"], console)
    table = Table(title=f"CPU us: {report['submits']:,} submits, {report['rounds']} rounds in turns")
    for title in ("", "a submit, before its commit", f"a job's traces in its worker, batch {BATCH}"):
        table.add_column(title, justify="right" if title else "left")
    for way in WAYS:
        table.add_row(way, f"{report['submit'][way]:.1f}", f"{report['job'][way]:.3f}")
    console.print(table)
    tables.show_figures(report["figures"], console)
