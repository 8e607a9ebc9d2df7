"""How throughput grows with worker nodes: two on this machine, or two hosts made of network namespaces."""

import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import cluster, machine, models, tables
from benchmarks.cluster import WAITING, Cluster, Host
from benchmarks.models import Model
from benchmarks.processes import ROOT, Meter
from benchmarks.systems import API
from examples.medium.make import INPUTS

NETWORK, HUB = "10.213.7.0/24", "10.213.7.1"
BUSY = {"sleep_ms": 5.0, "row_ms": 2.4, "width": INPUTS}
"""An engine that does some 370 rows a second and takes no core for it: what is measured is all the rest."""


WANTED = 1.8
BULK = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """`jobs`: in a run, for one node; with two, twice as many of the waiting engine's."""

    jobs: int = 2_400
    kinds: Sequence[str] = ("medium", WAITING)


def run(plan: Plan) -> dict[str, Any]:
    """One replica and then two, of each model, on two worker nodes of this machine."""
    hosts = [Host(name=f"node-{n}") for n in (1, 2)]
    return _run(plan, address="127.0.0.1", network="127.0.0.1/32", hosts=hosts, what="nodes")


def run_hosts(plan: Plan) -> dict[str, Any]:
    """The same on three hosts, each a network namespace: one for API, database and broker, two for workers.

    Without the rights for that, a report that says so in `skipped`.
    """
    if reason := _why_not():
        return {"benchmark": "hosts", "skipped": reason}
    with _namespaces() as (hub, workers):
        order = dataclasses.asdict(plan) | {"workers": workers}
        command = ["ip", "netns", "exec", hub, sys.executable, "-m", "benchmarks.nodes", json.dumps(order)]
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            raise SystemExit("The run on two hosts failed; see above.")
        return dict(json.loads(done.stdout))


def _inside(order: dict[str, Any]) -> dict[str, Any]:
    """Runs in the namespace of the first host. The workers' hosts have names of their own, too."""
    named = 'hostname "$0" && exec "$@"'
    hosts = [
        Host(name=f"host-{n}", prefix=("ip", "netns", "exec", name, "unshare", "--uts", "sh", "-c", named, f"host-{n}"))
        for n, name in enumerate(order.pop("workers"), 1)
    ]
    return _run(Plan(**order), address=HUB, network=NETWORK, hosts=hosts, what="hosts")


def _why_not() -> str:
    if os.geteuid() != 0:
        return "Network namespaces need root."
    probe = f"pst-try-{os.getpid()}"
    try:
        made = subprocess.run(["ip", "netns", "add", probe], capture_output=True, text=True, check=False)
    except OSError as error:
        return f"The command ip (iproute2) cannot be run: {error.strerror}."
    if made.returncode:
        return f"No network namespace can be made here: {made.stderr.strip()}"
    subprocess.run(["ip", "netns", "del", probe], check=False)
    return ""


@contextmanager
def _namespaces(workers: int = 2) -> Iterator[tuple[str, list[str]]]:
    """A bridge in a namespace of its own, and one namespace for each further host on it. All go at the end."""
    hub, names = f"pst-hub-{os.getpid()}", [f"pst-w{n}-{os.getpid()}" for n in range(1, workers + 1)]

    def ip(*words: str) -> None:
        subprocess.run(["ip", *words], check=True, capture_output=True)

    try:
        for name in (hub, *names):
            ip("netns", "add", name)
            ip("-n", name, "link", "set", "lo", "up")
        ip("-n", hub, "link", "add", "bridge", "type", "bridge")
        ip("-n", hub, "addr", "add", f"{HUB}/24", "dev", "bridge")
        ip("-n", hub, "link", "set", "bridge", "up")
        for n, name in enumerate(names, 1):
            ip("-n", hub, "link", "add", f"host{n}", "type", "veth", "peer", "name", "eth0", "netns", name)
            ip("-n", hub, "link", "set", f"host{n}", "master", "bridge", "up")
            ip("-n", name, "addr", "add", f"10.213.7.{10 + n}/24", "dev", "eth0")
            ip("-n", name, "link", "set", "eth0", "up")
        yield hub, names
    finally:
        for name in (hub, *names):
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


def _run(plan: Plan, *, address: str, network: str, hosts: Sequence[Host], what: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # PostgreSQL may run as another user
        report: dict[str, Any] = {"benchmark": what, "machine": machine.describe(folder), "models": {}}
        medium = models.make("medium", folder)
        with cluster.running(folder, address=address, network=network, hosts=hosts) as running:
            for kind in plan.kinds:
                report["models"][kind] = _grow(running, medium, plan, kind)
    growth = report["models"][WAITING]["growth"]  # the other's engines take the cores that they run on
    named = {"name": f"{WAITING} engine: two {what} against one, times", "measured": growth}
    report["figures"] = [named | {"sign": ">=", "wanted": WANTED, "is_reached": growth >= WANTED}]
    return report


def _grow(running: Cluster, model: Model, plan: Plan, kind: str) -> dict[str, Any]:
    """Throughput with one replica, then with two: the second goes to the node that has none."""
    is_waiting = kind == WAITING
    service = running.serve(model, framework=WAITING if is_waiting else "onnx", engine=BUSY if is_waiting else None)
    part: dict[str, Any] = {}
    for replicas in (1, 2):
        if replicas > 1:
            running.scale(service, replicas=replicas)
        _throughput(running, service, model, jobs=200)
        jobs = plan.jobs * replicas if is_waiting else plan.jobs
        part[str(replicas)] = seen = _throughput(running, service, model, jobs=jobs)
        print(f"{kind}, {replicas}: {seen}", file=sys.stderr, flush=True)
    part["growth"] = round(part["2"]["done_per_s"] / part["1"]["done_per_s"], 2)
    running.call("POST", f"{API}/services/{service}/stop", {})
    return part


def _throughput(running: Cluster, service: str, model: Model, *, jobs: int) -> dict[str, Any]:
    """From the first claim to the last completion, by the database's clock; who ran them, by their rows.

    They come in bulk, so that what takes them in is not what is measured.
    """
    inputs = [json.loads(body)["input_data"] for body in model.bodies]
    before, begun = Meter.read(running.roots), time.time()
    for sent in range(0, jobs, BULK):
        listed = [inputs[n % len(inputs)] for n in range(sent, min(sent + BULK, jobs))]
        running.call("POST", f"{API}/services/{service}/tasks/batch", {"input_data_list": listed})
    left = "SELECT count(*) FROM jobs WHERE service_id = %s AND state IN ('pending', 'running')"
    with running.db() as look:
        while look.execute(left, (service,)).fetchone() != (0,):
            time.sleep(0.05)
        after = Meter.read(running.roots)
        (connections,) = look.execute("SELECT count(*) FROM pg_stat_activity WHERE usename = 'penstock'").fetchone()
        rows = look.execute(
            "SELECT worker, state, count(*), min(claimed_at), max(completed_at), avg(batch_size) FROM jobs "
            "WHERE service_id = %s AND submitted_at >= %s GROUP BY worker, state",
            (service, begun),
        ).fetchall()
    took_s = max(row[4] for row in rows) - min(row[3] for row in rows)
    own_s = after.own_since(before)
    by_host: dict[str, int] = {}
    for row in rows:
        host = str(row[0]).partition("@")[2].partition("#")[0]
        by_host[host] = by_host.get(host, 0) + row[2]
    return {
        "jobs": jobs,
        "done_per_s": round(jobs / took_s, 1),
        "cpu_s_per_1000": round(own_s / jobs * 1000, 2),
        "foreign_share": round(after.foreign_share(before, own_s=own_s), 2),
        "by_worker": {str(row[0]).partition(".")[2]: row[2] for row in rows},
        "by_host": by_host,
        "connections": connections,
        "states": sorted({row[1] for row in rows}),
        "batch_mean": round(float(sum(row[5] * row[2] for row in rows)) / jobs, 1),
    }


def show(report: dict[str, Any], console: Console) -> None:
    """A row for each model and number of nodes, with the share of each worker."""
    if "skipped" in report:
        console.print(f"{report['benchmark']}: not measured. {report['skipped']}")
        return
    tables.show_machine(report["machine"], console)
    table = Table(title=f"one and two {report['benchmark']}, PostgreSQL, production mode")
    for title in ("model", "replicas", "jobs/s", "CPU s/1,000", "others", "batch", "by worker"):
        table.add_column(title, justify="left" if title in ("model", "by worker") else "right")
    for kind, part in report["models"].items():
        for replicas in ("1", "2"):
            seen = part[replicas]
            cells = (f"{seen['done_per_s']:,.0f}", f"{seen['cpu_s_per_1000']:.2f}")
            who = ", ".join(f"{name}: {count:,}" for name, count in sorted(seen["by_worker"].items()))
            table.add_row(kind, replicas, *cells, f"{seen['foreign_share']:.0%}", f"{seen['batch_mean']:.0f}", who)
    console.print(table)
    tables.show_figures(report["figures"], console)


if __name__ == "__main__":
    print(json.dumps(_inside(json.loads(sys.argv[1]))))
