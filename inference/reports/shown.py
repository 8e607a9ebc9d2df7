"""Figures as people read them, the same in both languages."""

from datetime import datetime
from zoneinfo import ZoneInfo

NOTHING = "–"
MINUTE, HOUR = 60, 3_600


def count(number: float | None) -> str:
    """Whole, in groups of three; a fraction only where it is small."""
    if number is None:
        return NOTHING
    return f"{number:,.0f}" if number == int(number) or abs(number) >= 100 else f"{number:.3g}"


def rate(number: float | None) -> str:
    """A second."""
    if number is None:
        return NOTHING
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def duration(seconds: float | None) -> str:
    if seconds is None:
        return NOTHING
    if seconds < 1:
        return f"{seconds * 1000:.3g} ms"
    if seconds < MINUTE:
        return f"{seconds:.3g} s"
    if seconds < HOUR:
        return f"{int(seconds // MINUTE)} min {int(seconds % MINUTE)} s"
    return f"{int(seconds // HOUR):,} h {int(seconds % HOUR // MINUTE)} min"


def share(part: float | None) -> str:
    """Of 1, in percent."""
    if part is None:
        return NOTHING
    percent = part * 100
    return f"{percent:.0f} %" if percent >= 10 or percent == int(percent) else f"{percent:.2g} %"


def size(number: float | None) -> str:
    if number is None:
        return NOTHING
    for unit in ("B", "KB", "MB", "GB"):
        if abs(number) < 1000:
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} TB"


def money(amount: float | None, currency: str) -> str:
    if amount is None:
        return NOTHING
    return f"{amount:,.2f} {currency}" if abs(amount) >= 0.01 or not amount else f"{amount:.2g} {currency}"


def moment(at: float, zone: str) -> str:
    """To the minute, in that time zone."""
    return datetime.fromtimestamp(at, ZoneInfo(zone)).strftime("%Y-%m-%d %H:%M")


def tick(at: float, zone: str, *, span_s: float) -> str:
    """Under a plot: the time of day within two days, else the date."""
    form = "%H:%M:%S" if span_s <= 300 else "%H:%M" if span_s <= 2 * 86_400 else "%m-%d"
    return datetime.fromtimestamp(at, ZoneInfo(zone)).strftime(form)
