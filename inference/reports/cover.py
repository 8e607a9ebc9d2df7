"""Which rows of the series answer for a range: wide ones inside, finer ones at its ends, each second in one of them."""

from collections.abc import Collection, Mapping, Sequence

from inference.reports.ports import ReportSources
from inference.setting_rooms import TelemetrySettings
from inference.telemetry.series import EASY_STEPS, HOUR, MINUTE, SECOND, WIDTHS, Span

MOST_ROWS = 6_000
"""Of so many rows plots are made at once; a range that has more of them is read in wider ones."""
MOST_MOMENTS = 96
SHORT_S = 900

Piece = tuple[int, int, int]
"""Width, first second, and the one after the last."""


def aligned(since: float, until: float, *, now: float, kept: TelemetrySettings) -> tuple[int, int]:
    """The range in whole seconds, minutes or hours: as fine as what is still kept of its beginning."""
    age_s = now - since
    unit = SECOND if age_s < kept.keep_seconds_s else MINUTE if age_s < kept.keep_minutes_s else HOUR
    return int(since // unit * unit), int(-(-until // unit) * unit)


def cut(since: int, until: int, *, widest: int, made: Mapping[int, int]) -> Sequence[Piece]:
    """Pieces by time, without gap or overlap; rows of a width are there until `made` of it."""
    return _cut(since, until, [width for width in sorted(WIDTHS, reverse=True) if width <= widest], made)


def _cut(since: int, until: int, widths: Sequence[int], made: Mapping[int, int]) -> list[Piece]:
    if since >= until:
        return []
    width, rest = widths[0], widths[1:]
    if not rest:
        return [(width, since, until)]
    first = -(-since // width) * width
    last = min(until // width * width, made.get(width, 0))
    if first >= last:
        return _cut(since, until, rest, made)
    return [*_cut(since, first, rest, made), (width, first, last), *_cut(last, until, rest, made)]


def widest_for(since: int, until: int, *, services: int, now: float, kept: TelemetrySettings) -> int:
    """The width of rows that plots of this range are made of."""
    if until - since <= SHORT_S and now - since < kept.keep_seconds_s:
        return SECOND
    few = (until - since) // MINUTE * max(1, services) <= MOST_ROWS
    return MINUTE if few and now - since < kept.keep_minutes_s else HOUR


def step_for(since: int, until: int, width: int) -> int:
    """Of the plots: at most so many steps, each of whole rows."""
    least = (until - since) / MOST_MOMENTS
    easy = [step for step in EASY_STEPS if step % width == 0]
    return next((step for step in easy if step >= least), -(-(until - since) // MOST_MOMENTS // HOUR) * HOUR or HOUR)


def read(
    sources: ReportSources, service_ids: Collection[str], since: int, until: int, *, widest: int
) -> Sequence[Span]:
    """The rows of these services in the range."""
    if not service_ids:
        return []
    made = {width: newest + width for width in WIDTHS if (newest := sources.newest(width)) is not None}
    return [
        span
        for width, first, last in cut(since, until, widest=widest, made=made)
        for span in sources.spans(service_ids, step_s=width, since=first, until=last)
    ]
