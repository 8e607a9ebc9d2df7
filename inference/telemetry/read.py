"""Read the series of a service: from the widest rows that fit, and from finer ones where those are not made yet."""

from collections.abc import Sequence

from inference.telemetry.ports import TelemetryPorts
from inference.telemetry.series import SECOND, WIDTHS, Point, Question, Span, points, width


def read(ports: TelemetryPorts, service_id: str, asked: Question) -> Sequence[Point]:
    """A point for each step in which something happened, by time."""
    return points(spans(ports, service_id, asked), asked, now=ports.flow.now_s())


def spans(ports: TelemetryPorts, service_id: str, asked: Question) -> Sequence[Span]:
    """The rows behind an answer, each second in one of them; none is wider than the step."""
    found: list[Span] = []
    since = asked.since
    for wide in sorted((one for one in WIDTHS if one <= width(asked.step_s)), reverse=True):
        until = asked.until
        if wide > SECOND:
            newest = ports.series.newest(wide)
            until = min(until, 0 if newest is None else newest + wide)
        if until > since:
            found += ports.series.of_service(service_id, step_s=wide, since=since, until=until)
            since = until
    return found
