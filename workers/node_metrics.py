"""Serves the metrics of all workers of a node: GET /metrics and /healthz."""

import contextlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from inference.telemetry.machine import MachineCollector


class MetricsServer:
    """Listens from the start; `port` is the real one. `close` ends it."""

    def __init__(self, folder: Path, *, host: str, port: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._server = ThreadingHTTPServer((host, port), _handler(folder))
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])
        serve = lambda: self._server.serve_forever(poll_interval=5)  # noqa: E731
        threading.Thread(target=serve, name="node-metrics", daemon=True).start()

    def close(self) -> None:
        """Does not wait for the thread: it is a daemon, and would notice only after its poll."""
        self._server.server_close()


def _handler(folder: Path) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path == "/metrics":
                self._answer(200, CONTENT_TYPE_LATEST, exposition(folder))
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


def exposition(folder: Path) -> bytes:
    """The text that Prometheus reads: the files of all workers, added up, and the machine's own figures."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=str(folder))  # type: ignore[no-untyped-call]  # the library's own gap
    registry.register(MachineCollector())
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
