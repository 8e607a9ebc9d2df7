"""Checks of the machine itself: Python, port, folder, disk, limits, clock."""

import os
import resource
import shutil
import socket
import tempfile
import time
from pathlib import Path

from api.cli import target
from api.cli.finding import Finding, fail, ok, warn

GB = 1 << 30
LITTLE_DISK_BYTES, LOW_DISK_BYTES = GB // 2, 5 * GB
FEW_FILES = 4096
SMALL_SHM_BYTES = 16 << 20


def python(version: tuple[int, ...], platform: str) -> Finding:
    shown = f"Python {'.'.join(map(str, version))} on {platform}"
    if version < (3, 11):
        return fail("python", shown, "Penstock needs Python 3.11 or newer; make its environment with one.")
    if platform != "linux":
        return warn("python", shown, "The client commands work here; `up` needs Linux.")
    return ok("python", shown)


def port(host: str, number: int, data_dir: Path) -> Finding:
    """Free, or held by the `up` of this data folder."""
    told = target.running(data_dir)
    ours = target.url_of(told) if told else None
    if ours and ours.endswith(f":{number}"):
        return ok("port", f"{host}:{number} is held by the `up` of this data folder")
    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind((host, number))
        except OSError as error:
            return fail(
                "port",
                f"{host}:{number} cannot be taken: {error.strerror or error}",
                "Stop what uses it, or start with `penstock up --port N` (0 takes a free one).",
            )
    return ok("port", f"{host}:{number} is free")


def nearest_existing(path: Path) -> Path:
    """The path itself, or the closest folder above it that is there."""
    return next(folder for folder in (path, *path.parents) if folder.exists())


def folder(data_dir: Path) -> Finding:
    there = nearest_existing(data_dir)
    try:
        with tempfile.NamedTemporaryFile(dir=there, prefix=".penstock-doctor-") as probe:
            skew_s = abs(Path(probe.name).stat().st_mtime - time.time())
    except OSError as error:
        fix = f"Make {there} writable for this user, or choose another folder with --data-dir or PENSTOCK_DATA_DIR."
        return fail("data folder", f"{data_dir} cannot be written: {error.strerror or error}", fix)
    if skew_s > 2:
        return warn(
            "data folder",
            f"{data_dir} is on a file system whose clock is {skew_s:.0f} s away",
            "SQLite needs a local disk: choose another folder, or use PostgreSQL.",
        )
    return ok("data folder", f"{data_dir} {'is writable' if there == data_dir else 'can be made'}")


def disk(data_dir: Path) -> Finding:
    there = nearest_existing(data_dir)
    return judge_disk(shutil.disk_usage(there).free, there)


def judge_disk(free_bytes: int, there: Path) -> Finding:
    message = f"{free_bytes / GB:.1f} GB free at {there}"
    fix = "Free some, or choose another folder with --data-dir; models and results are kept there."
    if free_bytes < LITTLE_DISK_BYTES:
        return fail("disk", message, fix)
    return warn("disk", message, fix) if free_bytes < LOW_DISK_BYTES else ok("disk", message)


def open_files() -> Finding:
    return judge_open_files(*resource.getrlimit(resource.RLIMIT_NOFILE))


def judge_open_files(soft: int, hard: int) -> Finding:
    message = f"{soft} open files allowed, {hard} at most"
    if soft == resource.RLIM_INFINITY or soft >= FEW_FILES:
        return ok("open files", message)
    if hard == resource.RLIM_INFINITY or hard >= FEW_FILES:
        return warn("open files", message, f"For 1,000 clients at once: `ulimit -n {FEW_FILES}` before the start.")
    return warn("open files", message, f"For 1,000 clients at once the limit must be raised to {FEW_FILES} by root.")


def shared_memory(there: Path) -> Finding:
    if not there.is_dir() or not os.access(there, os.W_OK):
        return fail("shared memory", f"{there} is not there or not writable", "Mount a tmpfs there; workers need it.")
    free_bytes = shutil.disk_usage(there).free
    message = f"{free_bytes >> 20} MB free at {there}"
    if free_bytes < SMALL_SHM_BYTES:
        return warn("shared memory", message, "In a container: `--shm-size 256m`.")
    return ok("shared memory", message)


def clock() -> Finding:
    """A clock that stands before the files of this very program is wrong."""
    installed = Path(__file__).stat().st_mtime
    return judge_clock(time.time(), installed)


def judge_clock(now_s: float, installed_s: float) -> Finding:
    shown = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now_s))
    if now_s < installed_s - 60:
        return fail("clock", f"{shown} lies before the time at which Penstock was installed", "Set the clock (NTP).")
    return ok("clock", shown)
