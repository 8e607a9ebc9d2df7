"""Detect anomalies of a service in its series."""

from collections.abc import Sequence

from inference.errors import InvalidField
from inference.telemetry.anomaly import Anomaly, anomalies, minutes, ranges
from inference.telemetry.ports import TelemetryPorts
from inference.telemetry.read import spans
from inference.telemetry.series import DAY, HOUR, MINUTE, Question, rolled

MOST_S = DAY


def detect(
    ports: TelemetryPorts, service_id: str, *, since: float | None = None, until: float | None = None
) -> Sequence[Anomaly]:
    """Those that reach into a range, the last hour unless said; the minute under way is not judged yet.

    Raises InvalidField.
    """
    end = int(min(ports.flow.now_s(), float("inf") if until is None else until) // MINUTE * MINUTE)
    begin = end - HOUR if since is None else int(max(0.0, since) // MINUTE * MINUTE)
    if since is not None and until is not None and until <= since:
        raise InvalidField("`from` must be before `to`.", field="from")
    if end - begin > MOST_S:
        raise InvalidField("Anomalies are looked for in 24 hours at most; choose a shorter range.", field="from")
    known = {}
    for first, last in ranges(begin, end):
        asked = Question(since=max(0, first) // MINUTE * MINUTE, until=last, step_s=MINUTE)
        known.update({span.at: span for span in rolled(spans(ports, service_id, asked), MINUTE)})
    return anomalies(minutes(known[at] for at in sorted(known)), since=begin, until=end)
