"""`bench profile`: where the CPU of a job goes, by stage, and a flame graph of each process."""

import contextlib
import json
import re
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

from benchmarks import machine, measure, models, systems
from benchmarks.models import Model
from benchmarks.processes import Meter, tree
from benchmarks.systems import Running
from benchmarks.tables import show_machine

SAMPLES_PER_S = 250
SETTLE_S = 1.5
PARTS = {
    "live.server": "live",
    "http_host": "api",
    "spawn_main": "engine",
    "workers.worker": "worker",
    "workers.control": "control",
    "workers.node": "node",
    "nginx": "front",
    "valkey-server": "broker",
}
"""By a word of the command line, the first that fits."""

_THREAD = re.compile(r"thread \((\d+)\)")

# The innermost frame of a stack that one of these names says which stage it belongs to: (file's end, function, stage);
# an empty function is any.
STAGES: tuple[tuple[str, str, str], ...] = (
    ("api/schemas/task_in.py", "read_task", "parse"),
    ("jobs/json_text.py", "", "parse"),
    ("jobs/inputs.py", "", "validate"),
    ("inference/tensors.py", "pack", "validate"),
    ("api/schemas/task_in.py", "", "validate"),
    ("access/", "", "limits and place"),
    ("jobs/submit.py", "", "limits and place"),
    ("jobs/admission.py", "", "limits and place"),
    ("store/jobs_insert.py", "", "commit"),
    ("jobs/commit_loop.py", "_gather", "commit"),
    ("jobs/commit.py", "ring", "doorbell"),
    ("workers/publisher.py", "", "doorbell"),
    ("redisio/slots.py", "", "doorbell"),
    ("jobs/commit_loop.py", "", "commit"),
    ("api/live/submit.py", "", "http"),
    ("api/submission.py", "accepted", "http"),
    ("api/submission.py", "", "validate"),
    ("api/live/fast.py", "", "http"),
    ("uvicorn/", "", "http"),
    ("store/jobs_claim.py", "", "claim"),
    ("store/jobs_finish.py", "", "finish"),
    ("store/usage.py", "", "finish"),
    ("redisio/hot.py", "", "tell"),
    ("redisio/news.py", "", "tell"),
    ("jobs/drain.py", "_tell", "tell"),
    ("jobs/drain.py", "_view", "tell"),
    ("engines/batcher.py", "", "decode"),
    ("engines/json_out.py", "", "encode"),
    ("inference/tensors.py", "unpack", "decode"),
    ("inference/tensors.py", "", "encode"),
    ("engines/", "", "run"),
    ("jobs/execute.py", "", "run"),
    ("workers/batch_runner.py", "", "run"),
    ("store/gate.py", "", "sql"),
    ("store/statement.py", "", "sql"),
    ("store/database.py", "", "sql"),
    ("sqlalchemy/", "", "sql"),
    ("jobs/drain.py", "_finish", "finish"),
    ("jobs/drain.py", "_claim", "claim"),
    ("jobs/query.py", "", "read"),
    ("api/live/app.py", "", "read"),
)


def run(kinds: Sequence[str] = ("tiny", "medium"), *, seconds: float = 6.0, keep: Path | None = None) -> dict[str, Any]:
    """Saturates a fresh system with each model; CPU as the kernel counts it, shared out by samples of py-spy.

    Samples are of whoever holds Python's lock: what runs without it (SQLite, a model, the kernel) is told under the
    stage that the same thread was in before and after.

    With `keep`, a flame graph of every Python process is written there.
    """
    with tempfile.TemporaryDirectory(prefix="penstock-profile-") as name:
        folder = Path(name)
        report: dict[str, Any] = {"benchmark": "profile", "machine": machine.describe(folder), "models": {}}
        for kind in kinds:
            model = models.make(kind, folder)
            with systems.penstock(model, folder / kind, instances=1, environ={}) as running:
                report["models"][kind] = _profile(running, model, folder / kind, seconds=seconds, keep=keep)
    return report


def _profile(running: Running, model: Model, folder: Path, *, seconds: float, keep: Path | None) -> dict[str, Any]:
    with _load(running, model, seconds=SETTLE_S + 2 * seconds + 4) as load:
        time.sleep(SETTLE_S)
        before, began = Meter.read(running.roots), time.perf_counter()
        parts = {process.pid: _part(process) for process in tree(running.roots)}
        time.sleep(seconds)
        after, took_s = Meter.read(running.roots), time.perf_counter() - began
        used = {pid: after.own[pid] - before.own.get(pid, 0.0) for pid in after.own}
        busy = [pid for pid, cpu_s in used.items() if cpu_s > 0.02 * took_s]
        spied = [pid for pid in busy if parts.get(pid) not in ("front", "broker")]
        began_threads = {pid: _threads(pid) for pid in spied}
        stacks = _spy(spied, folder, seconds=seconds)
        in_threads = {pid: _grown(began_threads[pid], _threads(pid)) for pid in spied}
        if keep is not None:
            keep.mkdir(parents=True, exist_ok=True)
            _flames({pid: f"{model.kind}-{parts.get(pid, pid)}.svg" for pid in spied}, keep, seconds=min(seconds, 4.0))
    sent = load[0]
    jobs = sent["rate"] * took_s
    by_part: Counter[str] = Counter()
    for pid, cpu_s in used.items():
        by_part[parts.get(pid, "other")] += cpu_s / jobs * 1e6
    return {
        "jobs_per_s": sent["rate"],
        "generator_us": sent["generator_cpu_s"] / sent["requests"] * 1e6,
        "us_by_part": dict(by_part.most_common()),
        "us_by_stage": _stages(
            {pid: (used[pid] / jobs * 1e6, in_threads[pid], counts) for pid, counts in stacks.items()}
        ),
    }


@contextmanager
def _load(running: Running, model: Model, *, seconds: float) -> Iterator[list[dict[str, Any]]]:
    """Submits as fast as they are accepted until the time is over; then the list holds the generator's report."""
    order = {
        "kind": "submit",
        "host": "127.0.0.1",
        "port": running.port,
        "method": "POST",
        "path": running.submit,
        "bodies": list(model.bodies),
        "connections": measure.CONNECTIONS,
        "expected": 202,
        "seconds": seconds,
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.load"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    told: list[dict[str, Any]] = []
    try:
        process.stdin.write(json.dumps(order))  # type: ignore[union-attr]
        process.stdin.close()  # type: ignore[union-attr]
        yield told
        told.append(json.loads(process.stdout.read()))  # type: ignore[union-attr]
    finally:
        process.kill()
        process.wait()


def _part(process: psutil.Process) -> str:
    try:
        command = " ".join(process.cmdline())
    except psutil.Error:
        return "other"
    return next((part for word, part in PARTS.items() if word in command), "other")


def _py_spy(pid: int, *, seconds: float, form: str, to: Path) -> "subprocess.Popen[bytes]":
    command = [str(Path(sysconfig.get_path("scripts")) / "py-spy"), "record", "--pid", str(pid), "--nonblocking"]
    command += [
        "--gil",
        "--threads",
        "--rate",
        str(SAMPLES_PER_S),
        "--duration",
        str(max(1, round(seconds))),
        "--format",
        form,
    ]
    return subprocess.Popen([*command, "--output", str(to)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _threads(pid: int) -> dict[int, int]:
    """CPU ticks of each thread so far."""
    found = {}
    for entry in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            found[int(entry.name)] = int(fields[11]) + int(fields[12])
    return found


def _grown(before: Mapping[int, int], after: Mapping[int, int]) -> dict[int, int]:
    return {thread: ticks - before.get(thread, 0) for thread, ticks in after.items()}


def _spy(pids: Sequence[int], folder: Path, *, seconds: float) -> dict[int, dict[int, Counter[str]]]:
    """Samples by stage, of each thread."""
    spies = {pid: _py_spy(pid, seconds=seconds, form="raw", to=folder / f"{pid}.raw") for pid in pids}
    found: dict[int, dict[int, Counter[str]]] = {}
    for pid, spy in spies.items():
        spy.wait()
        raw = folder / f"{pid}.raw"
        for line in raw.read_text(errors="replace").splitlines() if raw.exists() else ():
            stack, _, count = line.rpartition(" ")
            thread, *frames = stack.split(";")
            if (number := _THREAD.search(thread)) is not None:
                counts = found.setdefault(pid, {}).setdefault(int(number[1]), Counter())
                counts[stage_of(frames)] += int(count)
    return found


def _flames(names: Mapping[int, str], keep: Path, *, seconds: float) -> None:
    for spy in [_py_spy(pid, seconds=seconds, form="flamegraph", to=keep / name) for pid, name in names.items()]:
        spy.wait()


def stage_of(frames: Sequence[str]) -> str:
    """The stage of one stack, outermost frame first, each `function (file:line)`."""
    for frame in reversed(frames):
        function, _, where = frame.partition(" (")
        file = where.rpartition(":")[0]
        for path, name, stage in STAGES:
            if path in file and (not name or name in function):
                return stage
    return "other"


def _stages(by_process: Mapping[int, tuple[float, Mapping[int, int], Mapping[int, Counter[str]]]]) -> dict[str, float]:
    """Microseconds by stage: of a process' CPU each thread its part, of that each stage its samples' part."""
    found: Counter[str] = Counter()
    for us, ticks, threads in by_process.values():
        all_ticks = sum(ticks.values()) or 1
        for thread, own in ticks.items():
            counts = threads.get(thread) or Counter({"other": 1})
            for stage, count in counts.items():
                found[stage] += us * own / all_ticks * count / sum(counts.values())
    return dict(found.most_common())


def show(report: dict[str, Any], console: Console) -> None:
    """A table of processes and one of stages, CPU microseconds a job."""
    show_machine(report["machine"], console)
    for name, title in (("us_by_part", "process"), ("us_by_stage", "stage")):
        table = Table(title=f"CPU microseconds per job by {title}")
        table.add_column(title)
        for kind, part in report["models"].items():
            table.add_column(f"{kind} at {part['jobs_per_s']:,.0f}/s", justify="right")
        rows = dict.fromkeys(row for part in report["models"].values() for row in part[name])
        for row in rows:
            table.add_row(row, *(f"{part[name].get(row, 0.0):.1f}" for part in report["models"].values()))
        total = (f"{sum(part[name].values()):.0f}" for part in report["models"].values())
        table.add_row("all", *total, style="bold")
        console.print(table)
