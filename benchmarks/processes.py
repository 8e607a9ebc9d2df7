"""Processes of a benchmark: started so that they die with it, counted as a tree, ended by their ids."""

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parent.parent


def free_port() -> int:
    """A loopback port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)


def start(command: Sequence[str], *, environ: Mapping[str, str], log: Path, cwd: Path = ROOT) -> psutil.Process:
    """Starts a process in a session of its own; it gets SIGTERM when this one dies. Output goes to `log`."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env={**os.environ, **environ},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_die_with_parent,
        )
    return psutil.Process(process.pid)


def tree(roots: Sequence[psutil.Process]) -> list[psutil.Process]:
    """The processes and all that descend from them, as of now."""
    found = list(roots)
    for root in roots:
        with contextlib.suppress(psutil.NoSuchProcess):
            found += root.children(recursive=True)
    return found


def prefer(roots: Sequence[psutil.Process]) -> None:
    """Asks the kernel to run these before everything else on the machine, each session as one group (autogroup).

    Needs root; among themselves they share as always, so ratios stay what they are on a quiet machine.
    """
    for process in tree(roots):
        with contextlib.suppress(OSError):
            Path(f"/proc/{process.pid}/autogroup").write_text("-20")


def stop(roots: Sequence[psutil.Process], *, grace_s: float = 12.0) -> None:
    """SIGTERM to the roots, SIGKILL to what is left of their trees after `grace_s`. Returns when all are gone."""
    everything = tree(roots)
    for root in roots:
        with contextlib.suppress(psutil.NoSuchProcess):
            root.terminate()
    _, alive = psutil.wait_procs(everything, timeout=grace_s)
    for process in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(alive, timeout=5)


def cpu_seconds(roots: Sequence[psutil.Process]) -> dict[int, float]:
    """CPU seconds used so far, user and system, by process id."""
    used = {}
    for process in tree(roots):
        with contextlib.suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            used[process.pid] = times.user + times.system
    return used


@dataclass(frozen=True, slots=True, kw_only=True)
class Meter:
    """CPU used between two moments, by the system measured and by everybody else on the machine."""

    at: float
    own: Mapping[int, float]
    machine_s: float

    @classmethod
    def read(cls, roots: Sequence[psutil.Process]) -> "Meter":
        total = psutil.cpu_times()
        busy = total.user + total.system + total.nice + total.irq + total.softirq + total.steal
        return cls(at=time.perf_counter(), own=cpu_seconds(roots), machine_s=busy)

    def own_since(self, earlier: "Meter") -> float:
        """CPU seconds of the tree; a process born in between counts from its birth."""
        return sum(used - earlier.own.get(pid, 0.0) for pid, used in self.own.items())

    def foreign_share(self, earlier: "Meter", *, own_s: float) -> float:
        """Share of the whole machine (0 to 1) taken by others: noise, which makes a figure worse than it is."""
        span = (self.at - earlier.at) * (psutil.cpu_count() or 1)
        return max(0.0, (self.machine_s - earlier.machine_s - own_s) / span)


def wait_for_http(url: str, *, deadline_s: float, roots: Sequence[psutil.Process], log: Path) -> None:
    """Returns when `url` answers 200. Raises SystemExit with the log's end if it does not in time."""
    end = time.monotonic() + deadline_s
    while time.monotonic() < end and all(is_alive(root) for root in roots):
        with contextlib.suppress(OSError, urllib.error.URLError), urllib.request.urlopen(url, timeout=2) as answer:
            if answer.status == 200:
                return
        time.sleep(0.05)
    tail = log.read_text(errors="replace")[-3000:] if log.exists() else ""
    raise SystemExit(f"{url} ended, or did not answer 200 within {deadline_s:.0f} s. The log ends with:\n{tail}")


def is_alive(process: psutil.Process) -> bool:
    """False for a process that ended, also when nobody collected its exit code yet."""
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def pss_bytes(process: psutil.Process) -> int:
    """Proportional share of memory; 0 when it is gone or may not be read."""
    try:
        for line in Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except OSError:
        return 0
    return 0
