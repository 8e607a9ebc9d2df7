"""Sends spans to an OpenTelemetry collector, from a thread of its own. The only importer of opentelemetry.

It is imported when the first span is sent: a process that has none pays nothing for it.
"""

import importlib.util
import logging
import os
import random
import socket
import threading
from collections import deque
from collections.abc import Callable, Sequence
from importlib import metadata
from urllib.parse import urlsplit

import structlog

from inference.clock import monotonic_s
from inference.errors import BadSettings
from inference.settings import TracesSettings
from inference.tracing import Context, Count, Kind, Span, Tracer, parse

log = structlog.get_logger(__name__)

EXPORTER = "opentelemetry.exporter.otlp.proto.http"
PATH = "/v1/traces"
MOST_SPANS = 512
"""Of one request to the collector."""
PAUSE_S = 0.5
CLOSE_S = 2.0
WARN_S = 60.0

Export = Callable[[Sequence[Span]], str | None]
"""Why the collector did not take them; None when it did. May block for as long as the settings allow; never raises."""


class OtlpTracer:
    """`Tracer`. One in a process; its thread begins with the first span, and sleeps while there is none."""

    def __init__(
        self,
        settings: TracesSettings,
        *,
        now_s: Callable[[], float],
        make_export: Callable[[], tuple[Export, Callable[[], None]]],
        count: Count,
    ) -> None:
        """`make_export`: gives what sends, and what ends it; called once, on the thread."""
        self.now_s = now_s
        self._sample, self._most = settings.sample, settings.queue
        self._make_export, self._count = make_export, count
        self._spans: deque[Span] = deque()
        self._dice = random.Random()  # noqa: S311 - ids of spans are no secrets
        self._news = threading.Event()
        self._is_closing = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def begin(self, traceparent: str | None) -> tuple[Context, str | None] | None:
        sent = parse(traceparent)
        if sent is not None:
            return (self.child(sent.context), sent.context.span_id) if sent.is_sampled else None
        return (self.root(), None) if self._dice.random() < self._sample else None

    def child(self, of: Context) -> Context:
        return Context(of.trace_id, f"{self._dice.getrandbits(64) or 1:016x}")

    def root(self) -> Context:
        return self.child(Context(f"{self._dice.getrandbits(128) or 1:032x}", ""))

    def record(self, span: Span) -> None:
        if len(self._spans) >= self._most:
            self._count("dropped", 1)
            return
        self._spans.append(span)
        if not self._news.is_set():
            self._news.set()
        if self._thread is None:
            self._start()

    def close(self) -> None:
        self._is_closing.set()
        self._news.set()
        if self._thread is not None:
            self._thread.join(CLOSE_S)

    def _start(self) -> None:
        with self._lock:
            if self._thread is None and not self._is_closing.is_set():
                self._thread = threading.Thread(target=self._run, name="traces", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        export, end = self._make_export()
        warned_at = float("-inf")
        while True:
            self._news.wait()
            self._is_closing.wait(PAUSE_S)  # more may come meanwhile: a span alone is not worth a request
            self._news.clear()
            while batch := [self._spans.popleft() for _ in range(min(MOST_SPANS, len(self._spans)))]:
                reason = export(batch)
                self._count("sent" if reason is None else "failed", len(batch))
                if reason is not None and monotonic_s() - warned_at >= WARN_S:
                    warned_at = monotonic_s()
                    log.warning("spans_not_taken", reason=reason, count=len(batch), waiting=len(self._spans))
            if self._is_closing.is_set():
                end()
                return


def tracer(settings: TracesSettings, *, role: str, now_s: Callable[[], float], count: Count) -> Tracer | None:
    """None while the settings name no collector. Raises BadSettings where the library for it is missing.

    `role`: of this process; the collector sees it as the service `penstock-<role>`.
    """
    if not settings.endpoint:
        return None
    if not _is_installed():
        raise BadSettings(
            "PENSTOCK_TRACES__ENDPOINT is set, and OpenTelemetry is not installed here: install the extra 'traces' of "
            "penstock (docs/traces.md), or leave the setting empty.",
            name="PENSTOCK_TRACES__ENDPOINT",
        )
    return OtlpTracer(settings, now_s=now_s, make_export=lambda: exporter(settings, role=role), count=count)


def _is_installed() -> bool:
    try:
        return importlib.util.find_spec(EXPORTER) is not None
    except ModuleNotFoundError:
        return False


def url_of(endpoint: str) -> str:
    """Where spans are posted: an address without a path gets the one that collectors listen at."""
    return endpoint if urlsplit(endpoint).path.strip("/") else endpoint.rstrip("/") + PATH


def exporter(settings: TracesSettings, *, role: str) -> tuple[Export, Callable[[], None]]:
    """What sends, as OTLP over HTTP, and what ends it. Loads OpenTelemetry."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export import SpanExportResult
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope
    from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

    pairs = (pair.partition("=") for pair in settings.headers.split(",") if pair.strip())
    target = OTLPSpanExporter(
        endpoint=url_of(settings.endpoint),
        headers={name.strip().lower(): value.strip() for name, _, value in pairs},
        timeout=settings.timeout_s,
    )
    version = metadata.version("penstock")
    resource = Resource(
        {
            "service.name": f"penstock-{role}",
            "service.namespace": "penstock",
            "service.version": version,
            "service.instance.id": f"{socket.gethostname()}:{os.getpid()}",
            "host.name": socket.gethostname(),
            "process.pid": os.getpid(),
        }
    )
    scope, flags = InstrumentationScope("penstock", version), TraceFlags(TraceFlags.SAMPLED)
    kinds = {kind: SpanKind[kind.name] for kind in Kind}

    def named(context: Context) -> SpanContext:
        return SpanContext(int(context.trace_id, 16), int(context.span_id, 16), is_remote=True, trace_flags=flags)

    def readable(span: Span) -> ReadableSpan:
        parent = None if span.parent_id is None else named(Context(span.context.trace_id, span.parent_id))
        return ReadableSpan(
            name=span.name,
            context=named(span.context),
            parent=parent,
            resource=resource,
            attributes=span.attributes if span.error is None else {**span.attributes, "error.type": span.error},
            links=[Link(named(link)) for link in span.links],
            kind=kinds[span.kind],
            status=Status(StatusCode.UNSET) if span.error is None else Status(StatusCode.ERROR, span.error),
            start_time=_nanoseconds(span.began_s),
            end_time=_nanoseconds(max(span.began_s, span.ended_s)),
            instrumentation_scope=scope,
        )

    said = _Said()
    said.take(logging.getLogger("opentelemetry"))

    def export(spans: Sequence[Span]) -> str | None:
        said.words.clear()
        try:
            if target.export([readable(span) for span in spans]) is SpanExportResult.SUCCESS:
                return None
        except Exception as error:
            # The outer edge of a thread: traces must never cost more than themselves.
            return f"{type(error).__name__}: {error}"
        return " ".join(said.words)[:400] or "The collector did not take them."

    return export, target.shutdown


def _nanoseconds(epoch_s: float) -> int:
    """To the microsecond: no clock of ours is finer, and a float of seconds holds no more."""
    return round(epoch_s * 1e6) * 1000


class _Said(logging.Handler):
    """What the library says of one try: why it failed is in its words, and not in its answer."""

    def __init__(self) -> None:
        super().__init__()
        self.words: dict[str, None] = {}

    def take(self, logger: logging.Logger) -> None:
        """From now on the logger's words come here, and go nowhere else."""
        logger.handlers[:] = [self]
        logger.propagate = False

    def emit(self, record: logging.LogRecord) -> None:
        if len(self.words) < 4:
            self.words[record.getMessage()[:200]] = None
