"""`bench access`: what keys and limits cost a request, in one process, without HTTP."""

import gc
import logging
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import structlog
from rich.console import Console
from rich.table import Table

from benchmarks import machine, tables
from benchmarks.percentiles import quantile
from inference import wiring
from inference.access import keys
from inference.access.door import allow
from inference.access.model import ANYBODY, Limits, Principal, Reach, Role, Scope
from inference.clock import epoch_s
from inference.core import Core
from inference.ids import DEFAULT_TENANT, new_id
from inference.jobs.model import JobSpec
from inference.serving.model import Service, ServiceConfig, ServiceState
from inference.settings import Settings, StoreSettings
from inference.store.database import Database
from inference.store.migrate import upgrade

KEYS = 1_000
CALLS = 100_000
WANTED_US = 10.0
RATE = 1_000
PLENTY = Limits(requests_per_s=1e8, jobs_waiting=10**9, bytes_stored=10**15, gpu_seconds_per_day=1e9)
SPEC = (JobSpec(payload=b"", rows=1, bucket=""),)


def run(*, calls: int) -> dict[str, Any]:
    """Microseconds of each check over so many calls with 1,000 keys, each limited in every way, as is their tenant."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as name:
        folder = Path(name)
        report: dict[str, Any] = {"benchmark": "access", "calls": calls, "keys": KEYS}
        report["machine"] = machine.describe(folder)
        settings = Settings(data_dir=folder, database_url=f"sqlite:///{folder}/bench.db")
        database = Database(settings.database_url, StoreSettings())
        upgrade(database)
        database.close()
        core = wiring.build(settings)
        try:
            texts = _make_keys(core)
            report["checks"] = {title: _measure(call, calls) for title, call in _checks(core, texts).items()}
            report["refreshes"] = _refreshes(core)
        finally:
            core.close()
    whole = report["checks"]["all together"]
    report["figures"] = [
        _figure("CPU a request, all checks, us", whole["cpu_us"]),
        _figure("median of a request, all checks, us", whole["p50_us"]),
    ]
    return report


def _figure(name: str, measured: float) -> dict[str, Any]:
    return {"name": name, "measured": measured, "sign": "<", "wanted": WANTED_US, "is_reached": measured < WANTED_US}


def _make_keys(core: Core) -> list[str]:
    core.access.tenants.change(DEFAULT_TENANT, limits=PLENTY)
    scope = Scope(DEFAULT_TENANT)
    return [
        keys.create(core.access, by=ANYBODY, name=f"key {n}", role=Role.SUBMITTER, scope=scope, limits=PLENTY).text
        for n in range(KEYS)
    ]


def _checks(core: Core, texts: Sequence[str]) -> dict[str, Callable[[], object]]:
    door, admission, fair, service = core.door, core.jobs.admission, core.jobs.fair, a_service(new_id())
    shown = cycle(texts)

    def enter() -> Principal:
        return door.enter(next(shown), address="127.0.0.1", host="127.0.0.1:8080")

    holders = cycle([enter() for _ in texts])

    def everything() -> None:
        by = enter()
        door.count(by)
        allow(by, Role.SUBMITTER, Reach.SERVICE)
        admission.admit(by, jobs=1, payload_bytes=1000)
        fair.places(by, service, SPEC, now=epoch_s())

    return {
        "key check": enter,
        "rate check": lambda: door.count(next(holders)),
        "quotas (jobs, bytes, time)": lambda: admission.admit(next(holders), jobs=1, payload_bytes=1000),
        "place in the queue": lambda: fair.places(next(holders), service, SPEC, now=epoch_s()),
        "all together": everything,
    }


def a_service(service_id: str) -> Service:
    """One that runs, of the default tenant."""
    now = epoch_s()
    return Service(
        id=service_id,
        tenant_id=DEFAULT_TENANT,
        name="bench",
        model_id=new_id(),
        state=ServiceState.RUNNING,
        config=ServiceConfig(),
        revision=1,
        created_at=now,
        updated_at=now,
    )


def _measure(call: Callable[[], object], calls: int) -> dict[str, float]:
    """The clock's own time is taken off. CPU time is the thread's; the rest of a busy machine is not in it."""
    for _ in range(2 * KEYS):  # the first call of each key counts what the database holds
        call()
    empty = _times(lambda: None, 10_000)
    cpu_empty = _cpu(lambda: None, 10_000)
    gc.collect()
    clock_us = quantile(sorted(empty), 0.5)
    ordered = sorted(_times(call, calls))
    return {
        "cpu_us": round(_cpu(call, calls) - cpu_empty, 3),
        "p50_us": round(quantile(ordered, 0.5) - clock_us, 3),
        "p99_us": round(quantile(ordered, 0.99) - clock_us, 3),
    }


def _times(call: Callable[[], object], calls: int) -> list[float]:
    clock, found = time.perf_counter_ns, []
    for _ in range(calls):
        began = clock()
        call()
        found.append((clock() - began) / 1000)
    return found


def _cpu(call: Callable[[], object], calls: int) -> float:
    began = time.thread_time()
    for _ in range(calls):
        call()
    return (time.thread_time() - began) / calls * 1e6


def _refreshes(core: Core) -> dict[str, dict[str, float]]:
    """What is read now and then beside the requests, of one tenant and its keys, of a database that is all but empty.

    `us_a_request`: spread over the requests of one process that gets 1,000 a second for one tenant.
    """
    usage, store, settings = core.access.usage, core.jobs.store, core.settings.access
    day = int(epoch_s() // 86_400)
    reads: dict[str, tuple[float, Callable[[], object]]] = {
        "keys that changed": (settings.refresh_s, lambda: core.access.keys.changes(10**9)),
        "jobs waiting": (10.0, lambda: store.waiting(DEFAULT_TENANT, by_key=True)),
        "bytes stored": (60.0, lambda: usage.bytes_stored(DEFAULT_TENANT, by_key=True)),
        "engine time": (10.0, lambda: usage.engine_s(DEFAULT_TENANT, by_key=True, day=day)),
        "batch curve": (10.0, lambda: core.serving.profiles.of_model("none")),
    }
    found = {}
    for title, (every_s, read) in reads.items():
        read()
        cost_us = _cpu(read, 200)
        found[title] = {"us": round(cost_us, 1), "us_a_request": round(cost_us / every_s / RATE, 3)}
    return found


def show(report: dict[str, Any], console: Console) -> None:
    """The machine, a table of the checks, one of the reads beside them, and whether it is under 10 us."""
    tables.show_machine(report["machine"], console)
    checks = Table(title=f"a request's checks: {report['calls']:,} calls, {report['keys']:,} keys")
    for title in ("", "CPU us", "median us", "p99 us"):
        checks.add_column(title, justify="right" if title else "left")
    for title, row in report["checks"].items():
        checks.add_row(title, *(f"{row[name]:.2f}" for name in ("cpu_us", "p50_us", "p99_us")))
    console.print(checks)
    reads = Table(title=f"reads now and then, at {RATE:,} requests/s of one tenant")
    for title in ("", "CPU us each", "us a request"):
        reads.add_column(title, justify="right" if title else "left")
    for title, row in report["refreshes"].items():
        reads.add_row(title, f"{row['us']:.0f}", f"{row['us_a_request']:.3f}")
    console.print(reads)
    tables.show_figures(report["figures"], console)
