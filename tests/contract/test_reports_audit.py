"""What people do to reports and schedules leaves a record."""

from inference.access.acting import acting
from inference.ids import DEFAULT_TENANT, new_id
from inference.reports.model import Every, Format, Schedule
from inference.store.database import Database
from inference.store.reports import SqlReports
from tests.contract.audits import MINE, WHO, recorded
from tests.contract.jobs import SERVICE, add_service
from tests.contract.test_reports import report


def test_what_people_do_to_reports_and_schedules_is_recorded_without_secrets(migrated: Database):
    store = SqlReports(migrated)
    add_service(migrated)
    wanted = Schedule(
        id=new_id(), tenant_id=DEFAULT_TENANT, service_id=SERVICE, every=Every.WEEK, at="06:00", timezone="UTC",
        format=Format.PDF, language="en", post_to="https://example.org/hook?token=hidden", next_at=1e12,
    )  # fmt: skip

    with acting(WHO):
        made = store.ask(report(), most=10)
        store.schedule(wanted, most=10)
        store.unschedule(MINE, wanted.id)
        store.delete(MINE, made.id)

    records = recorded(migrated)
    assert [one.action for one in records] == [
        "report.create", "report_schedule.create", "report_schedule.delete", "report.delete",
    ]  # fmt: skip
    assert "hidden" not in repr(records)
