"""A whole real system for tests: `python -m workers.launch up` on its own folder, and hands to reach into it."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import orjson
import sqlalchemy as sa

from inference.settings import StoreSettings
from inference.store.database import Database
from tests.services import die_with_tests, wait_for
from workers.launching import status

ROOT = Path(__file__).parents[1]
BASE = "/api/v1/inference"
ENGINES = "tests.engines_for_tests"
PLUGINS = {
    "double": "Double",
    "slow": "Slow",
    "crash-on-load": "CrashOnLoad",
    "crash": "CrashOnValue",
    "hang": "HangOnValue",
    "raise": "RaiseOnValue",
    "reports": "Reports",
    "unpickle": "Unpickle",
}
FINAL = ("completed", "failed", "dead", "cancelled", "expired")


class System:
    """`settings`: further PENSTOCK_ variables by their name without the prefix."""

    def __init__(self, folder: Path, **settings: object) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.model = folder / "model.bin"
        self.plugins = dict(PLUGINS)
        self._settings = {name: str(value) for name, value in settings.items()}
        self._up: subprocess.Popen[bytes] | None = None
        self._models = 0
        self.url = ""
        self.redis_port = 0
        url = self._settings.get("DATABASE_URL", f"sqlite:///{self.data}/penstock.db")
        self.db = Database(url, StoreSettings(gate_timeout_s=10.0))

    # --- its life

    def start(self, *options: str) -> "System":
        """Blocks until /readyz is 200. `options` are those of `up`."""
        self.folder.mkdir(parents=True, exist_ok=True)
        ready = self.folder / "ready.json"
        ready.unlink(missing_ok=True)
        self.model.write_bytes(b"a model that only its engine for tests understands")
        with (self.folder / "up.log").open("ab") as log:
            self._up = subprocess.Popen(
                [sys.executable, "-m", "workers.launch", "up", "--port", "0", *options, "--ready-file", str(ready)],
                cwd=ROOT,
                env=self._environ(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=die_with_tests,
            )
        wait_for(lambda: ready.exists() or self._up is None or self._up.poll() is not None, timeout_s=90, what="ready")
        if not ready.exists():
            raise AssertionError(f"`up` ended:\n{self.logs()}")
        told = json.loads(ready.read_text())
        self.url = told["urls"]["api"]
        self.workers_url = told["urls"]["workers"]
        self.flower_url = told["urls"].get("flower", "")
        self.redis_port = urlsplit(told["redis_url"]).port or 0
        self.http = httpx.Client(base_url=self.url, timeout=70)
        return self

    def stop(self) -> None:
        """As Ctrl-C would; nothing may be left."""
        if self._up is not None and self._up.poll() is None:
            self._up.send_signal(signal.SIGINT)
            self._up.wait(30)
        self.http.close()
        self.db.close()
        left = self.everything()
        for pid in left:
            kill(pid)
        assert not left, f"left behind: {left}"

    def is_up(self) -> bool:
        return self._up is not None and self._up.poll() is None

    @property
    def launcher_pid(self) -> int:
        assert self._up is not None
        return self._up.pid

    def kill_everything(self) -> int:
        """SIGKILL to the launcher and to all that belongs to the folder; how many there were."""
        assert self._up is not None
        pids = [self._up.pid, *self.everything()]
        for pid in pids:
            kill(pid)
        self._up.wait(10)
        wait_for(lambda: not self.everything(), timeout_s=5, what="all gone")
        self.http.close()
        return len(pids)

    def everything(self) -> list[int]:
        """Every process of the data folder, found by its environment; the launcher is not among them."""
        mark = f"PENSTOCK_DATA_DIR={self.data}".encode()
        return [pid for pid, environ in _environments() if mark in environ and b"PENSTOCK_ROLE" in b" ".join(environ)]

    def pids(self, role: str, service_id: str | None = None) -> list[int]:
        """Living processes by role; `engine` are the children that hold the model."""
        return [
            entry["pid"]
            for entry in status.read(self.data)["processes"]
            if entry["role"] == role and service_id in (None, entry.get("service_id"))
        ]

    def every_pid(self, role: str) -> list[int]:
        """The children too, so that nothing of the role is left."""
        marks = {f"PENSTOCK_DATA_DIR={self.data}".encode(), f"PENSTOCK_ROLE={role}".encode()}
        return [pid for pid, environ in _environments() if marks <= set(environ)]

    def logs(self) -> str:
        """The end of every log, for a failed assertion."""
        files = [self.folder / "up.log", *sorted(self.data.glob("logs/*.log"))]
        return "\n".join(
            f"--- {path.name}\n{path.read_text(errors='replace')[-1500:]}" for path in files if path.exists()
        )

    def _environ(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")}
        found = {name: kind if ":" in kind else f"{ENGINES}:{kind}" for name, kind in self.plugins.items()}
        plugins = ",".join(f"{name}={place}" for name, place in found.items())
        ours = {"DATA_DIR": str(self.data), "ENGINES__PLUGINS": plugins} | self._settings
        return kept | {f"PENSTOCK_{name}": value for name, value in ours.items()} | {"PYTHONPATH": str(ROOT)}

    # --- its HTTP side

    def ask(self, method: str, path: str, body: Any = None, *, expect: int = 200, **arguments: Any) -> Any:
        """The JSON of an answer that must have this status."""
        content = None if body is None else orjson.dumps(body)
        headers = {"Content-Type": "application/json"} | arguments.pop("headers", {})
        answer = self.http.request(method, path, content=content, headers=headers, **arguments)
        assert answer.status_code == expect, f"{method} {path}: {answer.status_code} {answer.text[:500]}"
        return answer.json() if answer.content else None

    def register(self, framework: str, path: Path | None = None, **options: Any) -> str:
        """A model version with a name of its own; `options` go to the engine."""
        self._models += 1
        body = {
            "name": f"{framework}-{os.getpid()}-{self._models}",
            "version": "1.0.0",
            "framework": framework,
            "model_path": str(path or self.model),
            "metadata": {},
            "accuracy_metrics": {},
            "deployment_config": {"engine": options} if options else {},
        }
        return str(self.ask("POST", "/v1/models/register", body, expect=201)["model_id"])

    def create(self, model_id: str, **config: Any) -> str:
        return str(
            self.ask("POST", f"{BASE}/services", {"model_id": model_id, "config": config}, expect=201)["service_id"]
        )

    def begin(self, service_id: str) -> None:
        self.ask("POST", f"{BASE}/services/{service_id}/start")

    def run(
        self, framework: str, *, config: Mapping[str, Any] | None = None, timeout_s: float = 30, **options: Any
    ) -> str:
        """A running service of a fresh model."""
        service_id = self.create(self.register(framework, **options), **(config or {}))
        self.begin(service_id)
        self.until_ready(service_id, timeout_s=timeout_s)
        return service_id

    def show(self, service_id: str) -> dict[str, Any]:
        return dict(self.ask("GET", f"{BASE}/services/{service_id}"))

    def until_ready(self, service_id: str, *, timeout_s: float = 30) -> dict[str, Any]:
        def is_ready() -> dict[str, Any] | None:
            shown = self.show(service_id)
            assert shown["status"] != "error", f"{shown}\n{self.logs()}"
            is_there = shown["replicas_ready"] >= shown["replicas"]
            return shown if is_there and shown["status"] == "running" and self.pids("engine", service_id) else None

        try:
            return dict(wait_for(is_ready, timeout_s=timeout_s, what="ready service"))  # type: ignore[call-overload]
        except AssertionError as late:
            raise AssertionError(f"{late}: {self.show(service_id)}\n{self.logs()}") from late

    def submit(self, service_id: str, value: float = 1.0, **fields: Any) -> str:
        body = {"input_data": {"x": [[value] * 4]}} | fields
        return str(self.ask("POST", f"{BASE}/services/{service_id}/tasks", body, expect=202)["task_id"])

    def submit_many(self, service_id: str, values: Iterable[float], **fields: Any) -> list[str]:
        """One batch call; ids in order."""
        body = {"input_data_list": [{"x": [[value] * 4]} for value in values]} | fields
        return list(self.ask("POST", f"{BASE}/services/{service_id}/tasks/batch", body, expect=202)["task_ids"])

    def task(self, task_id: str, *, wait_s: float = 0) -> dict[str, Any]:
        return dict(self.ask("GET", f"{BASE}/tasks/{task_id}", params={"wait": wait_s} if wait_s else None))

    def until_done(self, service_id: str, *, timeout_s: float) -> dict[str, int]:
        """Jobs by state, once none of the service is waiting or running."""

        def counts() -> dict[str, int] | None:
            found = self.states(service_id)
            return found if not found.get("pending", 0) + found.get("running", 0) else None

        try:
            return dict(wait_for(counts, timeout_s=timeout_s, what="all done", every_s=0.1))  # type: ignore[call-overload]
        except AssertionError as late:
            raise AssertionError(f"{late}: {self.states(service_id)}\n{self.logs()}") from late

    # --- its database, its Redis, its metrics

    def rows(self, statement: str, **bound: Any) -> list[Any]:
        with self.db.read() as connection:
            return list(connection.execute(sa.text(statement), bound).all())

    def write(self, statement: str, **bound: Any) -> int:
        with self.db.write() as connection:
            return connection.execute(sa.text(statement), bound).rowcount

    def states(self, service_id: str) -> dict[str, int]:
        found = self.rows("SELECT state, count(*) FROM jobs WHERE service_id = :s GROUP BY state", s=service_id)
        return dict(found)

    def jobs(self, service_id: str) -> list[Any]:
        return self.rows("SELECT * FROM jobs WHERE service_id = :s ORDER BY id", s=service_id)

    def say(self, *words: str) -> bytes:
        """The raw answer of the broker to one command."""
        request = b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w.encode()), w.encode()) for w in words)
        with socket.create_connection(("127.0.0.1", self.redis_port), timeout=5) as connection:
            connection.sendall(request)
            return connection.recv(1 << 20)

    def metric(self, name: str, *, workers: bool = False) -> float:
        """The sum over all labels."""
        text = httpx.get(f"{self.workers_url}" if workers else f"{self.url}/metrics", timeout=10).text
        lines = [line for line in text.splitlines() if re.match(rf"{name}(\{{| )", line)]
        return sum(float(line.rpartition(" ")[2]) for line in lines)


class Monitor:
    """Counts, from outside, what goes to the broker: `with Monitor(system) as seen: ...; seen.messages()`."""

    def __init__(self, system: System) -> None:
        self._port = system.redis_port
        self.lines: list[str] = []

    def __enter__(self) -> "Monitor":
        self._socket = socket.create_connection(("127.0.0.1", self._port))
        self._socket.sendall(b"MONITOR\r\n")
        assert self._socket.recv(5) == b"+OK\r\n"
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)
        self._socket.close()

    def _read(self) -> None:
        with self._socket.makefile("r", errors="replace") as stream:
            for line in stream:
                self.lines.append(line)

    def messages(self) -> list[str]:
        """Celery messages: pushes to a queue of a service or to the control queue."""
        return [line for line in self.lines if re.search(r'"[LR]PUSH" "(svc\.|control)', line)]


def kill(pid: int, number: int = signal.SIGKILL) -> bool:
    """False when it was gone already."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def environ_of(pid: int) -> dict[str, str]:
    text = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace")
    return dict(line.split("=", 1) for line in text.split("\0") if "=" in line)


def maps_of(pid: int) -> str:
    return Path(f"/proc/{pid}/maps").read_text(errors="replace")


def seconds_until(is_done: Any, *, timeout_s: float, what: str) -> float:
    begun = time.monotonic()
    wait_for(is_done, timeout_s=timeout_s, what=what)
    return time.monotonic() - begun


def _environments() -> Sequence[tuple[int, list[bytes]]]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                found.append((int(entry.name), (entry / "environ").read_bytes().split(b"\0")))
            except OSError:
                continue
    return found
