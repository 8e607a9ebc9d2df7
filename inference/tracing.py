"""What a trace is made of, and who takes it: spans that are told when they are over. Knows no OpenTelemetry.

`Tracer` is None in a process that traces nothing; whoever has none does nothing for traces.
"""

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from enum import StrEnum
from typing import NamedTuple, Protocol, TypeAlias

import msgspec
import structlog

_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_SAMPLED = 1

Value: TypeAlias = str | int | float | bool


class Context(NamedTuple):
    """A span by name: 32 and 16 hex characters. Of an unsampled trace there is none."""

    trace_id: str
    span_id: str


class Kind(StrEnum):
    SERVER = "server"
    INTERNAL = "internal"
    CONSUMER = "consumer"
    CLIENT = "client"


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """One that is over. Times are epoch seconds by the database's clock, so that those of all hosts fit together.

    `parent_id`: a span of the same trace. `links`: spans of other traces that it has to do with. `error`: what went
    wrong, a code.
    """

    name: str
    context: Context
    began_s: float
    ended_s: float
    parent_id: str | None = None
    kind: Kind = Kind.INTERNAL
    attributes: Mapping[str, Value] = {}
    links: Sequence[Context] = ()
    error: str | None = None


class Tracer(Protocol):
    """Takes spans, for a collector. No method blocks or raises."""

    def begin(self, traceparent: str | None) -> tuple[Context, str | None] | None:
        """The span of a request that comes in, and its parent's id; None when it is not to be traced.

        Whoever sent a `traceparent` has decided; else a share of all requests is traced.
        """
        ...

    def child(self, of: Context) -> Context:
        """A new span of the same trace."""
        ...

    def root(self) -> Context:
        """The first span of a new trace."""
        ...

    def record(self, span: Span) -> None:
        """Sends it, some time; it is dropped, and counted, when too many wait."""
        ...

    def now_s(self) -> float:
        """Epoch seconds by the database's clock."""
        ...

    def close(self) -> None:
        """Sends what waits still, if that takes no more than some seconds."""
        ...


class Parsed(NamedTuple):
    """A `traceparent` that was understood. `is_sampled`: its sender records this trace."""

    context: Context
    is_sampled: bool


def parse(header: str | None) -> Parsed | None:
    """None for what is no `traceparent`, which then counts as not sent. Source: W3C Trace Context, level 2."""
    found = _TRACEPARENT.fullmatch(header.strip()) if header else None
    if found is None:
        return None
    version, trace_id, span_id, flags, more = found.groups()
    if version == "ff" or (version == "00" and more) or not trace_id.strip("0") or not span_id.strip("0"):
        return None
    return Parsed(Context(trace_id, span_id), bool(int(flags, 16) & _SAMPLED))


def traceparent(context: Context) -> str:
    """As it is sent on: of a trace that is recorded."""
    return f"00-{context.trace_id}-{context.span_id}-01"


_current: ContextVar[Context | None] = ContextVar("trace", default=None)


def current() -> Context | None:
    """The span of the request that this code works for; None when it is not traced."""
    return _current.get()


@contextlib.contextmanager
def entered(context: Context) -> Iterator[None]:
    """Within, `current` gives this span, and every log entry has its trace's id."""
    token = _current.set(context)
    try:
        with structlog.contextvars.bound_contextvars(trace_id=context.trace_id):
            yield
    finally:
        _current.reset(token)


class Steps:
    """The steps of one request, one after the other, as spans beneath its own."""

    def __init__(self, tracer: Tracer, context: Context) -> None:
        self._tracer = tracer
        self.context = context
        self._since_s = tracer.now_s()

    def done(self, name: str, **attributes: Value) -> None:
        """The step that began with the one before, or with the first, is over."""
        began_s, self._since_s = self._since_s, self._tracer.now_s()
        self._tracer.record(
            Span(
                name=name,
                context=self._tracer.child(self.context),
                parent_id=self.context.span_id,
                began_s=began_s,
                ended_s=self._since_s,
                attributes=attributes,
            )
        )


def steps(tracer: Tracer | None) -> Steps | None:
    """For the request that this code works for; None when nobody traces it."""
    if tracer is None or (context := current()) is None:
        return None
    return Steps(tracer, context)


Count: TypeAlias = Callable[[str, int], None]
"""Is told how many spans were `sent`, `dropped` for want of room, or `failed` to be taken by the collector."""
