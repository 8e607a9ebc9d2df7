"""A tracer that keeps what it is told."""

import itertools

from inference.tracing import Context, Span, parse


class FakeTracer:
    """`Tracer`. Traces what a client asks for, and all else when `is_eager`. Its clock is `at_s`."""

    def __init__(self, *, is_eager: bool = False) -> None:
        self.is_eager = is_eager
        self.spans: list[Span] = []
        self.at_s = 1_000.0
        self._numbers = itertools.count(1)

    def begin(self, traceparent: str | None) -> tuple[Context, str | None] | None:
        found = parse(traceparent)
        if found is not None:
            return (self.child(found.context), found.context.span_id) if found.is_sampled else None
        return (self.root(), None) if self.is_eager else None

    def child(self, of: Context) -> Context:
        return Context(of.trace_id, f"{next(self._numbers):016x}")

    def root(self) -> Context:
        return self.child(Context(f"{next(self._numbers):032x}", ""))

    def record(self, span: Span) -> None:
        self.spans.append(span)

    def now_s(self) -> float:
        return self.at_s

    def close(self) -> None:
        pass
