"""When schedules are due, and which days their reports cover."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from inference.reports import schedule
from inference.reports.model import Every, Format, Schedule

PARIS = "Europe/Paris"


def at(text: str, zone: str = PARIS) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


def daily(**changes: object) -> Schedule:
    values = {
        "id": "a", "tenant_id": "t", "service_id": "s", "every": Every.DAY, "at": "06:00", "timezone": PARIS,
        "format": Format.PDF, "language": "zh", "mail_to": ("a@example.org",), "post_to": "https://example.org",
    }  # fmt: skip
    return Schedule(**{**values, **changes})


def test_a_daily_one_is_due_at_its_time_and_covers_the_day_before():
    made = schedule.first(daily(), now=at("2026-11-20 05:59"))

    report, following = schedule.due(made, now=made.next_at + 1)

    assert made.next_at == at("2026-11-20 06:00")
    assert following == at("2026-11-21 06:00")
    assert (report.since, report.until) == (at("2026-11-19 00:00"), at("2026-11-20 00:00"))
    assert (report.format, report.language, report.mail_to, report.post_to, report.schedule_id) == (
        Format.PDF, "zh", ("a@example.org",), "https://example.org", "a",
    )  # fmt: skip


def test_a_weekly_one_comes_on_mondays_and_covers_monday_to_sunday():
    made = schedule.first(daily(every=Every.WEEK), now=at("2026-11-20 12:00"))

    report, following = schedule.due(made, now=made.next_at)

    assert made.next_at == at("2026-11-23 06:00")
    assert following == at("2026-11-30 06:00")
    assert (report.since, report.until) == (at("2026-11-16 00:00"), at("2026-11-23 00:00"))


@pytest.mark.parametrize(("day", "hours"), [("2026-03-29", 23), ("2026-10-25", 25)])
def test_a_day_with_a_change_of_clocks_has_its_own_length(day: str, hours: int):
    now = at(f"{day} 06:00") + 86_400

    report, _ = schedule.due(daily(next_at=now), now=now)

    assert report.since == at(f"{day} 00:00")
    assert report.until - report.since == hours * 3_600


def test_a_time_that_the_clocks_skip_comes_once_that_day():
    made = schedule.first(daily(at="02:30"), now=at("2026-03-28 12:00"))

    _, following = schedule.due(made, now=made.next_at)

    assert made.next_at == at("2026-03-29 03:30")
    assert following == at("2026-03-30 02:30")


def test_of_periods_that_nobody_was_there_for_the_newest_is_told():
    made = schedule.first(daily(), now=at("2026-11-01 12:00"))

    report, following = schedule.due(made, now=at("2026-11-20 09:00"))

    assert report.until == at("2026-11-20 00:00")
    assert following == at("2026-11-21 06:00")
