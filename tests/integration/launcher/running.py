"""A launcher under test: its process, its files, and every process of its run."""

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).parents[3]
STANDIN = "tests.integration.launcher.standin"


def until(condition: Callable[[], object], limit_s: float) -> float:
    """Seconds until the condition held; fails after the limit."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < limit_s, f"still not so after {limit_s} s"
        time.sleep(0.01)
    return time.monotonic() - began


class Up:
    """One `up` on a folder, with stand-in parts unless told otherwise, in a process group of its own."""

    def __init__(self, data_dir: Path, *extra: str, module: str = STANDIN, **environ: str) -> None:
        self.data_dir = data_dir
        data_dir.mkdir(exist_ok=True)
        self.errors = data_dir / "up.err"
        clean = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")}
        with self.errors.open("w") as errors:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    module,
                    "up",
                    "--port",
                    "0",
                    "--data-dir",
                    str(data_dir),
                    "--print-json",
                    *extra,
                ],
                cwd=ROOT,
                env=clean | environ,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
                text=True,
            )
        self.told: dict = {}

    def ready(self) -> "Up":
        line = self.process.stdout.readline()
        assert line, self.said()
        self.told = json.loads(line)
        return self

    def said(self) -> str:
        return self.errors.read_text()

    def state(self) -> dict:
        return json.loads((self.data_dir / "run" / "up.json").read_text())

    def pid(self, role: str) -> int:
        return {entry["role"]: entry["pid"] for entry in self.state()["processes"]}[role]

    def restarts(self, role: str) -> int:
        return {entry["role"]: entry["restarts"] for entry in self.state()["processes"]}[role]

    @property
    def port(self) -> int:
        return urlsplit(self.told["urls"]["api"]).port

    def ask(self, method: str, path: str, body: object = None, **headers: str) -> tuple[int, bytes, dict[str, str]]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body=body, headers=named)
            answer = connection.getresponse()
            return answer.status, answer.read(), dict(answer.getheaders())
        finally:
            connection.close()

    def who(self, path: str = "/") -> tuple[str, int] | None:
        """(role, pid) of the stand-in that answered; None without one."""
        try:
            status, body, _ = self.ask("GET", path)
        except (OSError, http.client.HTTPException):
            return None
        return (body.split()[0].decode(), int(body.split()[1])) if status == 200 else None

    def alive(self) -> list[int]:
        return run_members(self.told["run_id"])

    def stop(self, number: int = signal.SIGINT, limit_s: float = 10.0) -> int:
        os.killpg(self.process.pid, number)
        return self.process.wait(limit_s)

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(5)
        self.process.stdout.close()
        if self.told:
            for pid in self.alive():
                os.kill(pid, signal.SIGKILL)


def run_members(run_id: str) -> list[int]:
    """Every process whose environment carries this run, found without the launcher's own code."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                values = (entry / "environ").read_bytes().split(b"\0")
            except OSError:
                continue
            if b"PENSTOCK_RUN_ID=" + run_id.encode() in values:
                found.append(int(entry.name))
    return found


@contextmanager
def up(data_dir: Path, *extra: str, **environ: str) -> Iterator[Up]:
    running = Up(data_dir, *extra, **environ)
    try:
        yield running.ready()
    finally:
        running.end()
