"""Asks for a report, and puts schedules up: what a person may wish is settled here."""

import re
from zoneinfo import ZoneInfo

from inference.errors import InvalidField
from inference.ids import new_id
from inference.reports import schedule as schedules
from inference.reports.model import Format, Report, Schedule
from inference.reports.ports import ReportPorts

DAY_S = 86_400.0
MOST_DAYS = 400
MOST_SCHEDULES = 500
MOST_ADDRESSES = 20
TIME_OF_DAY = "([01][0-9]|2[0-3]):[0-5][0-9]"
ADDRESS = r"[^@\s,;<>\"\x00-\x1f]{1,64}@[^@\s,;<>\"\x00-\x1f]{1,190}"
_ZONE = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+){0,2}")
"""No `.` and no leading `/`: it names a file."""


def ask(
    ports: ReportPorts,
    *,
    tenant_id: str,
    service_id: str,
    format: Format,  # noqa: A002 - the word of the wire
    language: str,
    timezone: str,
    since: float | None,
    until: float | None,
) -> Report:
    """Of the last 24 hours where no range is said. Whoever makes it is told. Raises InvalidField, BacklogFull."""
    now = ports.store.now_s()
    end = now if until is None else min(until, now)
    begin = end - DAY_S if since is None else since
    if begin >= end:
        field = "from" if since is not None else "to"
        raise InvalidField("`from` must be before `to`, and in the past.", field=field)
    if end - begin > MOST_DAYS * DAY_S:
        raise InvalidField(f"A report covers {MOST_DAYS} days at most.", field="from")
    require_zone(timezone)
    report = ports.store.ask(
        Report(
            id=new_id(),
            tenant_id=tenant_id,
            service_id=service_id,
            format=format,
            language=language,
            timezone=timezone,
            since=begin,
            until=end,
        ),
        most=ports.settings.waiting,
    )
    ports.nudge.report()
    return report


def put_up(ports: ReportPorts, wanted: Schedule) -> Schedule:
    """Keeps the schedule, with when it is due first. Raises InvalidField, QuotaExceeded."""
    check(wanted)
    made = schedules.first(wanted, now=ports.store.now_s())
    return ports.store.schedule(made, most=MOST_SCHEDULES)


def check(wanted: Schedule) -> None:
    """Raises InvalidField, with the exact field."""
    require_zone(wanted.timezone)
    if not re.fullmatch(TIME_OF_DAY, wanted.at):
        raise InvalidField("`at` must be a time of day such as 06:00.", field="at")
    if len(wanted.mail_to) > MOST_ADDRESSES:
        raise InvalidField(f"`mail_to` names {MOST_ADDRESSES} addresses at most.", field="mail_to")
    for at, address in enumerate(wanted.mail_to):
        if not re.fullmatch(ADDRESS, address):
            raise InvalidField("This is no e-mail address.", field=f"mail_to.{at}")


def require_zone(name: str) -> None:
    """Raises InvalidField for a name that is no time zone."""
    try:
        if _ZONE.fullmatch(name):
            ZoneInfo(name)
            return
    except (OSError, ValueError, KeyError):
        pass
    raise InvalidField("There is no such time zone; write one such as UTC or Europe/Paris.", field="timezone")
