"""`bench front`: which processes behind the front should take submits and waits, measured on all counts at once.

Three ways, on one running system, through three fronts that differ in their routes only:
`flask`: submits go to Flask on granian's threads, waits to the asynchronous process (how it was).
`one`: submits and waits go to one asynchronous process.
`two`: submits go to an asynchronous process of their own, waits to another.
"""

import contextlib
import functools
import os
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

from benchmarks import machine, measure, models, systems
from benchmarks.models import Model
from benchmarks.processes import Meter, free_port, pss_bytes, start, stop, tree, wait_for_http
from benchmarks.systems import Running
from benchmarks.tables import show_machine
from workers.launching import front

WAYS = ("flask", "one", "two")
SETTINGS = {"PENSTOCK_API__WORKERS": "2", "PENSTOCK_API__THREADS": "32"}
SLOW, WAITING = 1_200, 1_000
UPGRADE = (
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: cGVuc3RvY2stYmVuY2gtMA==\r\n"
)
TO_LIVE = '"~^POST \\S* /api/(v1/)?inference/services/[^/]+/tasks/?$" live;'


def run(*, seconds: float = 4.0) -> dict[str, Any]:
    """All figures for each way, in turns."""
    with tempfile.TemporaryDirectory(prefix="penstock-front-") as name:
        folder = Path(name)
        report: dict[str, Any] = {"benchmark": "front", "machine": machine.describe(folder), "ways": {}}
        model = models.make("tiny", folder)
        with (
            systems.penstock(model, folder / "system", instances=1, environ=SETTINGS) as running,
            _second_live(running, folder) as second,
        ):
            data = folder / "system" / "data"
            for way in WAYS:
                with _front(way, data, second, folder / way) as port:
                    report["ways"][way] = _figures(running, model, port, seconds=seconds)
            report["second_live_pss_mb"] = pss_bytes(psutil.Process(_pid(second))) / 1e6
        return report


@contextmanager
def _second_live(running: Running, folder: Path) -> Iterator[Path]:
    """Another asynchronous process of the same system, with the first one's environment."""
    first = next(one for one in tree(running.roots) if "live.server" in " ".join(one.cmdline()))
    uds = folder / "second.sock"
    environ = first.environ()
    command = [sys.executable, "-m", "api.live.server", "--uds", str(uds)]
    environ.pop("PENSTOCK_PROCESS__PARENT_PID", None)
    process = start(command, environ=_absolute(environ, first.cwd()), log=folder / "second.log", cwd=Path(first.cwd()))
    (folder / "second.pid").write_text(str(process.pid))
    try:
        for _ in range(200):
            if uds.exists():
                break
            time.sleep(0.05)
        yield uds
    finally:
        stop([process])


def _pid(uds: Path) -> int:
    return int(uds.with_suffix(".pid").read_text())


def _absolute(environ: Mapping[str, str], cwd: str) -> dict[str, str]:
    return {**environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), environ.get("PYTHONPATH", "")])}


@contextmanager
def _front(way: str, data: Path, second: Path, folder: Path) -> Iterator[int]:
    (folder / "run" / "nginx").mkdir(parents=True)
    port = free_port()
    config = front.render(
        listen=f"127.0.0.1:{port}",
        body_limit_bytes=16 << 20,
        api=f"unix:{data / front.API_SOCKET}",
        live=f"unix:{data / front.LIVE_SOCKET}",
    )
    if TO_LIVE not in config:
        raise SystemExit("The route of submits was not found in the front's configuration.")
    if way == "flask":
        config = config.replace(TO_LIVE, "")
    if way == "two":
        config = config.replace(TO_LIVE, TO_LIVE.replace(" live;", " submits;"))
        config = config.replace(
            "upstream live {", f"upstream submits {{ server unix:{second}; keepalive 256; }}\n    upstream live {{"
        )
    (folder / "run" / "nginx.conf").write_text(config)
    command = [str(front.binary()), "-p", f"{folder}/", "-c", "run/nginx.conf", "-e", "stderr"]
    nginx = start(command, environ={}, log=folder / "nginx.log", cwd=folder)
    try:
        wait_for_http(f"http://127.0.0.1:{port}/healthz", deadline_s=10, roots=[nginx], log=folder / "nginx.log")
        yield port
    finally:
        stop([nginx])


def _figures(running: Running, model: Model, port: int, *, seconds: float) -> dict[str, Any]:
    order = functools.partial(_order, running, model, port, seconds=seconds)
    found: dict[str, Any] = {"at_64": _submits(running, order(connections=64))}
    found["paced_1000"] = _paced(order(kind="pace", connections=1000, rate=1000.0))
    found["at_1000"] = _submits(running, order(connections=1000))
    with _slow_bodies(port, running.submit):
        found["with_slow"] = _submits(running, order(connections=64))
        found["health_ms_with_slow"] = _health_ms(port)
    with _waits(port, running, "long polls") as held:
        found["long_polls_held"] = held()
        found["with_long_polls"] = _submits(running, order(connections=64))
    with _waits(port, running, "events") as held:
        found["streams_held"] = held()
        found["with_streams"] = _submits(running, order(connections=64))
    with _waits(port, running, "sockets") as held:
        found["sockets_held"] = held()
        found["with_sockets"] = _submits(running, order(connections=64))
    found["done_at_100_ms"] = measure.order(
        order(kind="arrive", rate=100.0) | {"wait": running.wait, "seconds": seconds + 1, "warm_s": 1.0, "seed": 7}
    )["done_ms"]
    return found


def _order(
    running: Running, model: Model, port: int, *, seconds: float, kind: str = "submit", **more: Any
) -> dict[str, Any]:
    base = {"kind": kind, "host": "127.0.0.1", "port": port, "method": "POST", "path": running.submit, "expected": 202}
    return base | {"bodies": list(model.bodies), "seconds": seconds} | more


def _submits(running: Running, order: dict[str, Any]) -> dict[str, Any]:
    before = Meter.read(running.roots)
    sent = measure.order(order)
    used = Meter.read(running.roots).own_since(before)
    good = sent["statuses"].get("202", 0)
    return {"per_s": sent["rate"], "ms": sent["answer_ms"], "odd": sent["requests"] - good, "cpu_us": used / good * 1e6}


def _paced(order: dict[str, Any]) -> dict[str, Any]:
    sent = measure.order(order)
    good = sent["statuses"].get("202", 0)
    return {"ms": sent["answer_ms"], "odd": sent["requests"] - good + sent["left_out"]}


@contextmanager
def _slow_bodies(port: int, path: str) -> Iterator[None]:
    """Clients that send a byte of their body every few seconds."""
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n"
    wires = [socket.create_connection(("127.0.0.1", port)) for _ in range(SLOW)]
    is_over = threading.Event()

    def drip() -> None:
        while not is_over.wait(2):
            for wire in wires:
                with contextlib.suppress(OSError):
                    wire.send(b" ")

    for wire in wires:
        wire.send(head.encode())
    thread = threading.Thread(target=drip, daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
        for wire in wires:
            wire.close()


@contextmanager
def _waits(port: int, running: Running, kind: str) -> Iterator[Callable[[], int]]:
    """Clients that wait for the end of a task that will not come soon, or hold a WebSocket and ask nothing on it."""
    service = systems.call("GET", f"http://127.0.0.1:{port}{systems.API}/services/{running.service_id}")
    parked = systems.call(
        "POST",
        f"http://127.0.0.1:{port}{systems.API}/services",
        {"model_id": service["model_id"], "config": {"queue_while_stopped": True}},
    )["service_id"]
    body = {"input_data": {"x": [[0.0] * models.INPUTS]}}
    task = systems.call("POST", f"http://127.0.0.1:{port}{systems.API}/services/{parked}/tasks", body)["task_id"]
    path = {
        "long polls": f"/tasks/{task}?wait=60",
        "events": f"/tasks/{task}/events",
        "sockets": f"/services/{running.service_id}/monitor",
    }[kind]
    asked = f"GET {systems.API}{path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{UPGRADE if kind == 'sockets' else ''}\r\n"
    wires = []
    for _ in range(WAITING):
        wire = socket.create_connection(("127.0.0.1", port))
        wire.send(asked.encode())
        wires.append(wire)
    time.sleep(1.5)

    def held() -> int:
        """How many wait still: with no answer, an open stream or an open socket."""
        count = 0
        for wire in wires:
            wire.setblocking(False)
            try:
                text = wire.recv(4096)
            except BlockingIOError:
                count += 1
            else:
                count += b"text/event-stream" in text or text.startswith(b"HTTP/1.1 101 ")
        return count

    try:
        yield held
    finally:
        for wire in wires:
            wire.close()


def _health_ms(port: int) -> float:
    times = []
    for _ in range(50):
        began = time.perf_counter()
        systems.call("GET", f"http://127.0.0.1:{port}/healthz")
        times.append((time.perf_counter() - began) * 1e3)
    return sorted(times)[-1]


def show(report: dict[str, Any], console: Console) -> None:
    """One column a way."""
    show_machine(report["machine"], console)
    ways: dict[str, Any] = report["ways"]
    table = Table(title="Who takes submits behind the front")
    table.add_column("")
    for way in ways:
        table.add_column(way, justify="right")

    def row(title: str, cell: Callable[[dict[str, Any]], str]) -> None:
        table.add_row(title, *(cell(figures) for figures in ways.values()))

    for key, title in (
        ("at_64", "64 connections"),
        ("at_1000", "1,000 connections"),
        ("with_slow", "64, beside 1,200 slow bodies"),
        ("with_long_polls", "64, beside 1,000 long polls"),
        ("with_streams", "64, beside 1,000 event streams"),
        ("with_sockets", "64, beside 1,000 idle WebSockets"),
    ):
        row(f"{title}: submits/s", lambda one, key=key: f"{one[key]['per_s']:,.0f}")  # type: ignore[misc]
        row(
            "  p99 ms / CPU us / not 202",
            lambda one, key=key: f"{one[key]['ms']['p99']:.0f} / {one[key]['cpu_us']:.0f} / {one[key]['odd']}",
        )  # type: ignore[misc]
    row("1,000 connections at 1,000/s: p99 ms", lambda one: f"{one['paced_1000']['ms']['p99']:.1f}")
    row("  not 202, or late for their next turn", lambda one: str(one["paced_1000"]["odd"]))
    row("slowest of 50 health checks beside slow bodies, ms", lambda one: f"{one['health_ms_with_slow']:.0f}")
    row(
        "long polls / streams / sockets held of 1,000",
        lambda one: f"{one['long_polls_held']} / {one['streams_held']} / {one['sockets_held']}",
    )
    row(
        "submit to done at 100/s, p50 / p99 ms",
        lambda one: f"{one['done_at_100_ms']['p50']:.1f} / {one['done_at_100_ms']['p99']:.1f}",
    )
    console.print(table)
    console.print(f"A second asynchronous process costs {report['second_live_pss_mb']:.0f} MB.")
