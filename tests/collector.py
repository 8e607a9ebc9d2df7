"""An OpenTelemetry collector for tests: takes OTLP over HTTP as real ones do, and says what came."""

import http.server
import threading
from dataclasses import dataclass, field

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.services import wait_for

KINDS = {1: "internal", 2: "server", 3: "client", 4: "producer", 5: "consumer"}


@dataclass
class Came:
    """One span. `links`: (trace id, span id) of others."""

    name: str
    service: str
    trace_id: str
    span_id: str
    parent_id: str
    kind: str
    began_s: float
    ended_s: float
    is_error: bool
    attributes: dict[str, object] = field(default_factory=dict)
    links: list[tuple[str, str]] = field(default_factory=list)


class Collector:
    """On a free port of loopback. `status`: what it answers from now on; `headers`: those of the last request."""

    def __init__(self) -> None:
        self.spans: list[Came] = []
        self.headers: dict[str, str] = {}
        self.paths: set[str] = set()
        self.status = 200
        collector = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                collector.headers = {name.lower(): value for name, value in self.headers.items()}
                collector.paths.add(self.path)
                if collector.status == 200:
                    collector.spans += read(body)
                self.send_response(collector.status)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def of(self, trace_id: str) -> dict[str, Came]:
        """The spans of one trace by name; of several with one name, the last."""
        return {span.name: span for span in list(self.spans) if span.trace_id == trace_id}

    def until(self, trace_id: str, names: set[str], *, timeout_s: float = 15) -> dict[str, Came]:
        """`of`, once spans of all these names are there."""
        wait_for(lambda: names <= set(self.of(trace_id)), timeout_s=timeout_s, what=f"spans {names} of {trace_id}")
        return self.of(trace_id)


def read(body: bytes) -> list[Came]:
    request = ExportTraceServiceRequest.FromString(body)
    found = []
    for resource in request.resource_spans:
        service = _attributes(resource.resource.attributes)["service.name"]
        for scope in resource.scope_spans:
            found += [
                Came(
                    name=span.name,
                    service=str(service),
                    trace_id=span.trace_id.hex(),
                    span_id=span.span_id.hex(),
                    parent_id=span.parent_span_id.hex(),
                    kind=KINDS[span.kind],
                    began_s=span.start_time_unix_nano // 1000 / 1e6,
                    ended_s=span.end_time_unix_nano // 1000 / 1e6,
                    is_error=span.status.code == 2,
                    attributes=_attributes(span.attributes),
                    links=[(link.trace_id.hex(), link.span_id.hex()) for link in span.links],
                )
                for span in scope.spans
            ]
    return found


def _attributes(pairs: object) -> dict[str, object]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in pairs}
