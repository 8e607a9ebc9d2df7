"""Serves the metrics of all workers of a node: GET /metrics and /healthz."""

import contextlib
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from inference.resources.metrics import DeviceCollector
from inference.resources.model import HostReading
from inference.telemetry import metrics
from inference.telemetry.machine import MachineCollector


class MetricsServer:
    """Listens from the start; `port` is the real one. `close` ends it."""

    def __init__(self, folder: Path, *, host: str, port: int, devices: Callable[[], HostReading] | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._server = ThreadingHTTPServer((host, port), _handler(folder, devices))
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])
        serve = lambda: self._server.serve_forever(poll_interval=5)  # noqa: E731
        threading.Thread(target=serve, name="node-metrics", daemon=True).start()

    def close(self) -> None:
        """Does not wait for the thread: it is a daemon, and would notice only after its poll."""
        self._server.server_close()


def _handler(folder: Path, devices: Callable[[], HostReading] | None) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path == "/metrics":
                self._answer(200, CONTENT_TYPE_LATEST, exposition(folder, devices))
            elif path == "/healthz":
                self._answer(200, "application/json", b'{"status":"ok"}')
            else:
                body = b'{"code":"route_not_found","message":"Known are /metrics and /healthz.","details":{}}'
                self._answer(404, "application/json", body)

        def _answer(self, status: int, kind: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            """A scrape every few seconds is not news."""

    return Handler


class Together(Collector):
    """What the workers' files say, added up, and in it the jobs that the agent's own sweeps have ended."""

    def __init__(self, folder: Path) -> None:
        alone = CollectorRegistry()  # the library wants one to register with
        self._workers = MultiProcessCollector(alone, path=str(folder))  # type: ignore[no-untyped-call]  # its own gap

    def collect(self) -> Iterable[Metric]:
        families = {family.name: family for family in self._workers.collect()}  # type: ignore[no-untyped-call]
        (own,) = metrics.finished.collect()
        told = families.setdefault(own.name, Metric(own.name, own.documentation, own.type))
        counts: defaultdict[tuple[tuple[str, str], ...], float] = defaultdict(float)
        for sample in (*told.samples, *own.samples):
            if sample.name.endswith("_total"):
                counts[tuple(sorted(sample.labels.items()))] += sample.value
        told.samples = [Sample(f"{own.name}_total", dict(labels), count) for labels, count in counts.items()]
        return families.values()


def exposition(folder: Path, devices: Callable[[], HostReading] | None = None) -> bytes:
    """The text that Prometheus reads: the figures of all workers and of the agent, the machine's and its devices'."""
    registry = CollectorRegistry()
    registry.register(Together(folder))
    registry.register(MachineCollector())
    if devices is not None:
        registry.register(DeviceCollector(devices))
    return generate_latest(registry)


def forget_dead(folder: Path) -> None:
    """Removes the live gauges of processes that are gone; their counters stay."""
    for path in folder.glob("gauge_live*_*.db"):
        pid = path.stem.rpartition("_")[2]
        if pid.isdigit() and not Path(f"/proc/{pid}").exists():
            path.unlink(missing_ok=True)


def empty(folder: Path) -> None:
    """Counters begin anew with a new agent, as they would in one process."""
    for path in folder.glob("*.db"):
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
