"""Makes the reports that are due, one after the other: what the process that was started for it does."""

import structlog

from inference.errors import PenstockError, ReportFailed, StoreUnavailable
from inference.reports import schedule as schedules
from inference.reports.gather import gather
from inference.reports.model import Report, ReportState
from inference.reports.ports import ReportPorts, Telling
from inference.reports.tell import tell

log = structlog.get_logger(__name__)

MOST_ATTEMPTS = 3
"""A report whose maker ended so often is given up: it would end the next one, too."""
MOST_SCHEDULES = 100
MOST_BYTES = 16_000_000
LOST = "The process that made it ended, or took too long, {count} times."


def plan(ports: ReportPorts) -> int:
    """Asks for what schedules want; how many reports. Any number of processes may: each period is asked for once."""
    now, count = ports.store.now_s(), 0
    for schedule in ports.store.due(limit=MOST_SCHEDULES):
        if schedule.service_id and not ports.sources.subjects(schedule.tenant_id, schedule.service_id):
            ports.store.drop(schedule)  # its service is gone
            continue
        report, next_at = schedules.due(schedule, now=now)
        if ports.store.make_from(schedule, report, next_at=next_at):
            log.info("report_scheduled", report_id=report.id, schedule_id=schedule.id)
            count += 1
    return count


def next_one(ports: ReportPorts, telling: Telling, *, by: str) -> bool:
    """Makes or tells of the report that is most overdue; False when none is due. Raises StoreUnavailable.

    What it does may be done again by another process, when this one ends in the middle; only one of them settles it.
    """
    report = ports.store.take(by=by, lease_s=ports.settings.lease_s)
    if report is None:
        return False
    with structlog.contextvars.bound_contextvars(report_id=report.id, service_id=report.service_id or None):
        if report.state is ReportState.RUNNING:
            _make(ports, report, by=by)
        else:
            tell(ports, telling, report, by=by)
    return True


def _make(ports: ReportPorts, report: Report, *, by: str) -> None:
    if report.attempt > MOST_ATTEMPTS:
        _fail(ports, report, by, ReportFailed.code, LOST.format(count=MOST_ATTEMPTS))
        return
    try:
        body, summary = _rendered(ports, report)
    except StoreUnavailable:
        raise
    except PenstockError as error:
        _fail(ports, report, by, error.code, error.message)
    except Exception as error:
        # An outer edge: whatever is wrong with one report, the others are made.
        log.exception("report_failed")
        _fail(ports, report, by, ReportFailed.code, f"It could not be made: {type(error).__name__}. The log says more.")
    else:
        if ports.store.complete(report, by=by, body=body, summary=summary):
            log.info("report_made", size_bytes=len(body), format=report.format.value)


def _rendered(ports: ReportPorts, report: Report) -> tuple[bytes, str]:
    from inference.reports.render import render  # with the libraries behind it

    body, summary = render(report, gather(ports, report), base_url=ports.settings.base_url)
    if len(body) > MOST_BYTES:
        raise ReportFailed(f"It has {len(body)} bytes; {MOST_BYTES} are the most that are kept.", size_bytes=len(body))
    return body, summary


def _fail(ports: ReportPorts, report: Report, by: str, code: str, message: str) -> None:
    if ports.store.fail(report, by=by, code=code, message=message):
        log.warning("report_failed", code=code, reason=message)
