"""What runs on a data folder: the launcher's own list, the node agent's, and the engines below each worker."""

import os
from pathlib import Path
from typing import Any

import psutil

from workers.launching import folder

SHOWN = 5
"""Alerts that are named; of more only the number."""


def read(data_dir: Path) -> dict[str, Any]:
    """`{running, pid, urls, processes: [{role, pid, service_id?, restarts}]}`, living processes only."""
    state = folder.read_json(data_dir / "run" / "up.json")
    running = bool(state) and _is_alive(int(state["pid"]))
    processes = [entry for entry in state.get("processes", []) if _is_alive(entry["pid"])]
    for worker in _workers(data_dir):
        processes.append(worker)
        processes += [
            {"role": "engine", "pid": pid, "service_id": worker.get("service_id"), "restarts": 0}
            for pid in engines_of(worker["pid"])
        ]
    return {
        "running": running,
        "pid": state.get("pid") if running else None,
        "run_id": state.get("run_id"),
        "data_dir": str(data_dir),
        "started_at": state.get("started_at"),
        "urls": state.get("urls", {}),
        "processes": processes,
    }


def _workers(data_dir: Path) -> list[dict[str, Any]]:
    path = data_dir / "run" / "node.json"
    content = folder.read_json(path)
    entries = content.get("processes", []) if content else folder.read_list(path)
    return [entry for entry in entries if _is_alive(entry["pid"])]


def engines_of(worker_pid: int) -> list[int]:
    """The engine processes of a worker: its spawned children, without billiard's tracker."""
    try:
        children = psutil.Process(worker_pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
    return [child.pid for child in children if _is_engine(child)]


def _is_engine(process: psutil.Process) -> bool:
    try:
        line = " ".join(process.cmdline())
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False
    return "spawn_main" in line and "semaphore_tracker" not in line


def _is_alive(pid: int) -> bool:
    if pid <= 0:
        return False
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (OSError, IndexError):
        return False


def _standing(found: dict[str, Any]) -> list[str]:
    """How services, tasks and alerts stand; nothing where it is not known."""
    if found.get("services") is None:
        return []
    services = ", ".join(f"{count} {state}" for state, count in sorted(found["services"].items())) or "none"
    tasks, alerts = found["tasks"], found["alerts"]
    shown = [f"{one['rule']} ({one['severity']}) of {one['service'] or 'the tenant'}" for one in alerts[:SHOWN]]
    more = [f"{len(alerts) - SHOWN} more: penstock alert list"] if len(alerts) > SHOWN else []
    return [
        f"  {'services':8} {services}",
        f"  {'tasks':8} {tasks['waiting']} waiting, {tasks['running']} running",
        f"  {'alerts':8} {'; '.join([*shown, *more]) or 'none'}",
    ]


def table(found: dict[str, Any]) -> str:
    """The same, for people."""
    if not found["running"]:
        return f"Penstock does not run on {found['data_dir']}."
    lines = [f"Penstock runs on {found['data_dir']} (process {found['pid']}, since {found['started_at']})"]
    lines += [f"  {name:8} {url}" for name, url in found["urls"].items()]
    lines += _standing(found)
    lines.append(f"{'role':10}{'pid':>9}{'restarts':>10}  service")
    for entry in found["processes"]:
        row = f"{entry['role']:10}{entry['pid']:>9}{entry['restarts']:>10}  {entry.get('service_id') or ''}"
        lines.append(row.rstrip())
    return os.linesep.join(lines)
