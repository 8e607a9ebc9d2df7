"""What happens to workers: killed, stopped longer than their lease, cut off, with clocks that are wrong."""

import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from urllib.parse import urlsplit

import psutil

from tests.chaos.stages import middle, stages
from tests.chaos.world import Skipped, World
from tests.system import kill


def killed(world: World) -> None:
    """Three times the engine, then the whole worker, again and again.

    Recovery is over when work goes on: with the first job that completes and had not been about to when the process
    was killed. `stages_...` says where the time went, and when the jobs that were lost were claimed again.
    """
    world.serve()
    world.load()
    world.works(more=20)
    dice, kills = random.Random(world.seed), list[tuple[str, float]]()
    for number in range(world.times(20)):
        role = "worker" if number % 4 == 3 else "engine"
        world.until(lambda role=role: world.system.pids(role, world.service), timeout_s=30, what=role)
        at = time.time()
        if world.kill(world.system.pids(role, world.service)):
            kills.append((role, at))
        world.works(more=3)
        time.sleep(dice.uniform(0.1, 0.5))
    world.settle()
    for role in ("engine", "worker"):
        took = [world.first_end_after_s(at) for killed_role, at in kills if killed_role == role]
        if took:
            world.figure(f"recovery_{role}_s", median(took), target=3, at_most=10)
            world.figures[f"recovery_{role}_max_s"] = round(max(took), 2)  # a poison job may have come between
            parts = [stages(world, role, at) for killed_role, at in kills if killed_role == role]
            world.figures[f"stages_{role}_s"] = middle(parts)
    world.feel("kills", len(kills), at_least=world.times(20))
    world.feel("attempts_lost", world.outcomes()["lost"])


def stopped(world: World) -> None:
    """A worker with its engine stands still for longer than its lease, with jobs in its hands, and goes on."""
    world.slack_s = 20.0
    world.serve(replicas=2, engine={"call_ms": 150, "row_ms": 10})
    world.load()
    world.works(more=20)
    lost = 0
    for _ in range(world.times(3)):
        worker = world.system.pids("worker", world.service)[0]
        family = [worker, *(child.pid for child in psutil.Process(worker).children(recursive=True))]
        before = world.outcomes()["lost"]
        _stop_with_jobs(world, family)
        world.until(lambda before=before: world.outcomes()["lost"] > before, timeout_s=40, what="jobs taken back")
        time.sleep(1)
        for pid in family:
            kill(pid, signal.SIGCONT)
        lost += world.outcomes()["lost"] - before
        world.works(more=10)
        world.until(lambda: len(world.system.pids("engine", world.service)) == 2, timeout_s=40, what="both engines")
    world.settle()
    world.feel("leases_lost", lost, at_least=world.times(3))
    world.figures["fenced"] = world.system.metric("penstock_fenced_total", workers=True)


def _stop_with_jobs(world: World, family: list[int]) -> None:
    for _ in range(200):
        for pid in family:
            kill(pid, signal.SIGSTOP)
        time.sleep(0.05)
        if _held(world, family):
            return
        for pid in family:
            kill(pid, signal.SIGCONT)
        time.sleep(0.05)
    raise AssertionError("the worker never had a job in its hands")


def _held(world: World, pids: list[int]) -> list[str]:
    rows = world.system.rows(
        "SELECT j.id, i.pid FROM jobs j JOIN instances i ON i.id = j.instance_id "
        "AND i.generation = j.instance_generation WHERE j.state = 'running'"
    )
    return [job_id for job_id, pid in rows if pid in pids]


def cut(world: World) -> None:
    """A second host is cut from broker and database by the packet filter; when it is back, its jobs are others'."""
    nft = shutil.which("nft") or "/usr/sbin/nft"
    if os.geteuid() or not Path(nft).exists() or not shutil.which("setpriv"):
        raise Skipped("cutting a process from the network takes root, nft and setpriv")
    world.slack_s = 25.0
    group = 26_000 + os.getpid() % 1_000
    host = world.further_host(through=("setpriv", "--regid", str(group), "--clear-groups"))
    world.serve(replicas=2, engine={"call_ms": 100, "row_ms": 10})
    world.until(lambda: host.pids("engine"), timeout_s=30, what="an engine on the other host")
    world.load()
    world.works(more=20)
    engines = host.pids("engine")
    world.until(lambda: _held(world, engines), timeout_s=20, what="jobs on the other host")
    ports = {world.system.redis_port, urlsplit(world.postgres.url).port if world.postgres else 0}
    with _dropped(nft, group, sorted(ports)) as dropped:
        begun, had = time.time(), _held(world, engines)
        world.until(lambda: not set(_held(world, engines)) & set(had), timeout_s=60, what="its jobs taken back")
        world.figure("recovery_host_s", time.time() - begun, target=20, at_most=60)
        count = dropped()
    world.works(more=10)
    world.system.until_ready(world.service, timeout_s=60)
    world.settle()
    world.feel("packets_dropped", count)
    world.figures["fenced"] = sum(log.read_text().count("finish_fenced") for log in host.logs())
    world.feel("attempts_lost", world.outcomes()["lost"])
    world.figures["held_at_cut"] = len(had)


@contextmanager
def _dropped(nft: str, group: int, ports: list[int]) -> Iterator[object]:
    """Drops what processes of the group send to these ports; yields how to ask for how many packets that were."""
    table = f"penstock_chaos_{os.getpid()}"
    rule = f"meta skgid {group} tcp dport {{ {', '.join(map(str, ports))} }} counter drop"
    text = f"table inet {table} {{\n chain out {{\n type filter hook output priority 0\n {rule}\n }}\n}}\n"
    made = subprocess.run([nft, "-f", "-"], input=text, capture_output=True, text=True, check=False)
    if made.returncode:
        raise Skipped(f"nft does not work here: {made.stderr.strip()[:200]}")
    try:
        yield lambda: _counted(nft, table)
    finally:
        subprocess.run([nft, "delete", "table", "inet", table], check=True)


def _counted(nft: str, table: str) -> int:
    text = subprocess.run([nft, "list", "table", "inet", table], capture_output=True, text=True, check=True).stdout
    return int(text.split("packets ")[1].split()[0])


def clocks(world: World) -> None:
    """Two more hosts, an hour ahead and an hour behind; what has a time is judged by the database's clock alone."""
    if world.kind == "sqlite":
        raise Skipped("with SQLite every process has the host's clock, and that is not ours to set")
    if not (compiler := shutil.which("cc")):
        raise Skipped("wrong clocks take a C compiler, for tests/chaos/clock.c")
    library = world.folder / "clock.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, Path(__file__).with_name("clock.c")], check=True)
    world.slack_s = 10.0
    shifts = [{"LD_PRELOAD": str(library), "CHAOS_CLOCK_SHIFT_S": shift} for shift in ("3600", "-3600")]
    hosts = [world.further_host(**shift) for shift in shifts]
    world.serve(replicas=3)
    world.until(lambda: all(host.pids("engine") for host in hosts), timeout_s=40, what="engines on all hosts")
    engines = {pid: host for host in hosts for pid in host.pids("engine")}
    faked = sum(library.name in Path(f"/proc/{pid}/maps").read_text() for pid in engines)
    world.load()
    begun = time.time()
    time.sleep(world.lasting(10))
    world.settle()
    world.feel("engines_with_wrong_clocks", faked, at_least=2)
    runs = [pid for pid in world.effect_pids() if pid in engines]
    for host in hosts:
        world.feel(f"runs_on_{host.data.name if host.data else ''}", sum(engines[pid] is host for pid in runs))
    off = world.system.rows(
        "SELECT count(*) FROM attempts WHERE started_at < :a OR ended_at > :b", a=begun - 600, b=time.time() + 600
    )
    world.figures["attempts_at_a_wrong_time"] = off[0][0]
