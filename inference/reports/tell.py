"""Tells of a report that is over: by mail with the file, by a signed webhook. At least once each."""

import base64
import json
import random
import time
from collections.abc import Mapping
from typing import Any

import structlog

from inference import clock
from inference.access.model import Scope
from inference.notify import sign
from inference.notify.decide import after_attempt
from inference.notify.model import Answer, DeliveryState
from inference.reports import shown
from inference.reports.model import MEDIA, Report, ReportState
from inference.reports.ports import ReportPorts, Telling
from inference.reports.texts import CATALOGUE, say

log = structlog.get_logger(__name__)

INLINE_BYTES = 1_000_000
"""A larger file is not posted, but may be fetched."""
CONTENT = "/api/v1/inference/reports/{id}/content"


def tell(ports: ReportPorts, telling: Telling, report: Report, *, by: str) -> None:
    """One try at what is still to be told. Raises StoreUnavailable; then it is due again after its lease."""
    scope = Scope(report.tenant_id)
    body = ports.store.content(scope, report.id) if report.state is ReportState.COMPLETED else b""
    name = _name(ports, report)
    answers: dict[str, Answer] = {}
    if report.mail_to and report.mailed_at is None:
        subject, text = letter(report, name)
        answers["mail"] = telling.mail(
            to=report.mail_to,
            subject=subject,
            text=text,
            message_id=report.id,
            attachment=(file_name(report), _media(report), body) if body else None,
        )
    if report.post_to and report.posted_at is None:
        message = json.dumps(_message(report, name, body), ensure_ascii=False).encode()
        keys = ports.secrets.in_force(report.tenant_id)
        headers = sign.headers(event_id=report.id, at_s=int(time.time()), body=message, keys=keys)
        answers["post"] = telling.post(report.post_to, body=message, headers=headers)
    settled = {
        how: after_attempt(answer, attempts=report.tell_attempts + 1, dice=random.random())  # noqa: S311 - jitter
        for how, answer in answers.items()
    }
    again = [one.delay_s for one in settled.values() if one.state is DeliveryState.PENDING]
    problems = [f"{how}: {answer.error}" for how, answer in answers.items() if answer.error]
    ports.store.told(
        report,
        by=by,
        mailed=_is_over(settled, "mail"),
        posted=_is_over(settled, "post"),
        delay_s=max(again) if again else None,
        note="; ".join(problems) or None,
    )
    if problems:
        log.warning("report_not_told", reason="; ".join(problems), attempts=report.tell_attempts + 1)


def letter(report: Report, name: str) -> tuple[str, str]:
    """Subject and text. A name may hold anything: a line's end in it must not end the subject."""
    words = CATALOGUE[report.language]
    title = words["title_all"] if not report.service_id else say(report.language, "title_service", name=name)
    begins, ends = (shown.moment(at, report.timezone) for at in (report.since, report.until))
    span = say(report.language, "from_to", begins=begins, ends=ends)
    subject = " ".join(say(report.language, "subject", title=title, range=span).split())
    if report.state is ReportState.FAILED:
        return subject, say(report.language, "failed_mail", message=report.error_message or "") + "\n"
    return subject, f"{report.summary}\n\n{words['mail_attached']}\n"


def file_name(report: Report) -> str:
    """As it is mailed and downloaded."""
    day = shown.moment(report.since, report.timezone)[:10]
    return f"penstock-report-{day}-{report.id[-8:]}.{report.format.value}"


def _is_over(settled: Mapping[str, Any], how: str) -> bool:
    """Delivered, or given up: neither is tried again."""
    return how in settled and settled[how].state is not DeliveryState.PENDING


def _media(report: Report) -> str:
    return MEDIA[report.format].partition(";")[0]


def _name(ports: ReportPorts, report: Report) -> str:
    subjects = ports.sources.subjects(report.tenant_id, report.service_id) if report.service_id else ()
    return subjects[0].name if subjects else report.service_id


def _message(report: Report, name: str, body: bytes) -> Mapping[str, Any]:
    """The body of a webhook."""
    data: dict[str, Any] = {
        "report_id": report.id,
        "service_id": report.service_id or None,
        "service": name or None,
        "schedule_id": report.schedule_id,
        "status": report.state.value,
        "format": report.format.value,
        "language": report.language,
        "from": clock.iso(report.since),
        "to": clock.iso(report.until),
        "summary": report.summary,
    }
    if report.state is ReportState.FAILED:
        data["error"] = {"code": report.error_code, "message": report.error_message}
    else:
        data["content_url"] = CONTENT.format(id=report.id)
        data["content_type"] = _media(report)
        data["content"] = base64.b64encode(body).decode() if len(body) <= INLINE_BYTES else None
    return {"type": f"report.{report.state.value}", "timestamp": clock.iso(report.ended_at), "data": data}
