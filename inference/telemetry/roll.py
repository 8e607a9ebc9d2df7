"""Roll-up and retention of the series: seconds become minutes, minutes wider spans, and each is kept for its time."""

from inference.clock import monotonic_s
from inference.telemetry.ports import TelemetryPorts
from inference.telemetry.series import DAY, FIVE_MINUTES, HOUR, MINUTE, SECOND, rolled

FROM = {MINUTE: SECOND, FIVE_MINUTES: MINUTE, HOUR: MINUTE, DAY: HOUR}
LATE_S = 10
"""A span is rolled up so long after its end, when nothing is added to it any more."""
MOST_S = {MINUTE: 600, FIVE_MINUTES: 12 * HOUR, HOUR: 12 * HOUR, DAY: 10 * DAY}
"""What is rolled up at a time, so that making up for an outage takes no long transaction."""
EVERY_S, DELETE_S = 10.0, 60.0


class Roller:
    """For the process that samples; call `turn` as often as you like."""

    def __init__(self, ports: TelemetryPorts) -> None:
        self._ports = ports
        self._due_at = self._delete_at = float("-inf")

    def turn(self, now: float) -> None:
        """Writes the wider spans that are over, and deletes what is too old, each now and then.

        `now`: until when the seconds are written. Raises StoreUnavailable: the next turn makes up for this one.
        """
        began = monotonic_s()
        if began < self._due_at:
            return
        self._due_at = began + EVERY_S
        self.roll(now)
        if began >= self._delete_at:
            self._delete_at = began + DELETE_S
            self.delete(now)

    def roll(self, now: float) -> int:
        """How many wider spans it wrote. Doing it twice changes nothing."""
        return sum(self._roll(step_s, now) for step_s in FROM)

    def _roll(self, step_s: int, now: float) -> int:
        series, finer, written = self._ports.series, FROM[step_s], 0
        over = int(now - LATE_S) // step_s * step_s
        newest = series.newest(step_s)
        since = 0 if newest is None else newest + step_s
        while (first := series.first(finer, since=since)) is not None and (begin := first // step_s * step_s) < over:
            since = min(over, begin + MOST_S[step_s])
            spans = list(rolled(series.of_all(step_s=finer, since=begin, until=since), step_s))
            series.put(spans)
            written += len(spans)
        return written

    def delete(self, now: float) -> None:
        """Deletes a bounded number of rows that are too old."""
        kept = self._ports.settings
        series = self._ports.series
        series.delete(step_s=SECOND, before=int(now - kept.keep_seconds_s))
        series.delete(step_s=MINUTE, before=int(now - kept.keep_minutes_s))
        series.delete(step_s=FIVE_MINUTES, before=int(now - kept.keep_minutes_s))
        series.delete(step_s=HOUR, before=int(now - kept.keep_hours_s))
        series.delete(step_s=DAY, before=int(now - kept.keep_hours_s))
