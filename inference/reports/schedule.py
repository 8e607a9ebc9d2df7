"""When a schedule is due, and which range its report covers: days of its time zone, which have 23 to 25 hours."""

from dataclasses import replace
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from inference.ids import new_id
from inference.reports.model import Every, Report, Schedule


def first(schedule: Schedule, *, now: float) -> Schedule:
    """The schedule with the first time after now at which it is due."""
    return replace(schedule, next_at=_next(schedule, now))


def due(schedule: Schedule, *, now: float) -> tuple[Report, float]:
    """The report of the newest period that is due, and when the one after it is.

    Of periods that passed while nobody could make reports only the newest is told.
    """
    following = _next(schedule, now)
    latest = _last(schedule, now)
    zone = ZoneInfo(schedule.timezone)
    end = datetime.fromtimestamp(latest, zone).date()
    begin = end - timedelta(days=1 if schedule.every is Every.DAY else 7)
    since, until = (datetime.combine(day, time(), zone).timestamp() for day in (begin, end))
    report = Report(
        id=new_id(),
        tenant_id=schedule.tenant_id,
        service_id=schedule.service_id,
        schedule_id=schedule.id,
        format=schedule.format,
        language=schedule.language,
        timezone=schedule.timezone,
        since=since,
        until=until,
        mail_to=schedule.mail_to,
        post_to=schedule.post_to,
    )
    return report, following


def _next(schedule: Schedule, now: float) -> float:
    """The first time after now."""
    day = datetime.fromtimestamp(now, ZoneInfo(schedule.timezone)).date()
    times = (_at(schedule, day + timedelta(days=ahead)) for ahead in range(-1, 9))
    return min(found for found in times if found is not None and found > now)


def _last(schedule: Schedule, now: float) -> float:
    """The last time up to now."""
    day = datetime.fromtimestamp(now, ZoneInfo(schedule.timezone)).date()
    times = (_at(schedule, day - timedelta(days=back)) for back in range(-1, 9))
    return max(found for found in times if found is not None and found <= now)


def _at(schedule: Schedule, day: date) -> float | None:
    """Weekly ones come on Mondays. A time that the clocks skip is taken an hour later, one that comes twice once."""
    if schedule.every is Every.WEEK and day.weekday() != 0:
        return None
    hour, minute = (int(part) for part in schedule.at.split(":"))
    return datetime.combine(day, time(hour, minute), ZoneInfo(schedule.timezone)).timestamp()
