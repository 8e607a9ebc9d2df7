"""Reports over a range, for people: asked for, listed, read; and schedules by which they come by themselves."""

from typing import Any

from flask import Response, request

from api import context, paging, times
from api.blueprint import Blueprint
from api.documented import READING, refuses
from api.schemas import reports as schemas
from api.schemas.common import PageIn
from inference import errors
from inference.access.model import Reach, Role
from inference.ids import new_id
from inference.notify import guard
from inference.reports import ask
from inference.reports.model import MEDIA, Every, Format, Schedule
from inference.reports.tell import file_name

blueprint = Blueprint("reports", __name__, description="What happened over a range, as HTML or PDF")

Json = dict[str, Any]
CONTENT = "/reports/<report_id>/content"
FILE = {
    "text/html": {"schema": {"type": "string"}},
    "application/pdf": {"schema": {"type": "string", "format": "binary"}},
}


@blueprint.route("/services/<service_id>/reports", methods=["POST"], needs=Role.SUBMITTER)
@blueprint.arguments(schemas.ReportIn(), required=False, example=schemas.REPORT_IN_EXAMPLE)
@refuses(*READING, errors.ServiceNotFound, errors.BacklogFull)
@blueprint.response(202, schemas.ReportAccepted())
def ask_of_service(wanted: Json, service_id: str) -> tuple[Json, int, dict[str, str]]:
    """Ask for a report on a service; it is made in the background"""
    _require(service_id)
    return _ask(wanted, service_id)


@blueprint.route("/reports", methods=["POST"], needs=Role.SUBMITTER, reach=Reach.TENANT)
@blueprint.arguments(schemas.ReportIn(), required=False, example=schemas.REPORT_IN_EXAMPLE)
@refuses(*READING, errors.BacklogFull)
@blueprint.response(202, schemas.ReportAccepted())
def ask_of_all(wanted: Json) -> tuple[Json, int, dict[str, str]]:
    """Ask for a report on all services of the tenant"""
    return _ask(wanted, "")


@blueprint.route("/services/<service_id>/reports", needs=Role.VIEWER)
@blueprint.arguments(PageIn(), location="query")
@refuses(errors.InvalidField, errors.UnknownField, errors.ServiceNotFound)
@blueprint.response(200, schemas.ReportPage())
def list_of_service(asked: Json, service_id: str) -> Json:
    """List the reports on a service, newest first"""
    _require(service_id)
    return _list(asked, service_id)


@blueprint.route("/reports", needs=Role.VIEWER)
@blueprint.arguments(PageIn(), location="query")
@refuses(errors.InvalidField, errors.UnknownField)
@blueprint.response(200, schemas.ReportPage())
def list_reports(asked: Json) -> Json:
    """List all reports, newest first"""
    return _list(asked, None)


@blueprint.route("/reports/<report_id>", needs=Role.VIEWER)
@refuses(errors.ReportNotFound)
@blueprint.response(200, schemas.ReportShown(), example=schemas.REPORT_EXAMPLE)
def show_report(report_id: str) -> Json:
    """Show how a report stands"""
    context.known_form(report_id, errors.ReportNotFound, "report")
    return schemas.report(context.core().reports.store.get(context.scope(), report_id))


@blueprint.route(CONTENT, needs=Role.VIEWER)
@refuses(errors.ReportNotFound, errors.WrongState)
@blueprint.doc(responses={"200": {"description": "The file", "content": FILE}})
def read_report(report_id: str) -> Response:
    """Read a completed report: a page that needs nothing else, or a PDF"""
    context.known_form(report_id, errors.ReportNotFound, "report")
    store, scope = context.core().reports.store, context.scope()
    body = store.content(scope, report_id)
    report = store.get(scope, report_id)
    named = {"Content-Disposition": f'inline; filename="{file_name(report)}"'}
    return Response(body, content_type=MEDIA[report.format], headers=named)


@blueprint.route("/reports/<report_id>", methods=["DELETE"], needs=Role.OPERATOR)
@refuses(errors.ReportNotFound)
@blueprint.response(204)
def delete_report(report_id: str) -> None:
    """Delete a report; one that is not made yet will not be"""
    context.known_form(report_id, errors.ReportNotFound, "report")
    context.core().reports.store.delete(context.scope(), report_id)


@blueprint.route("/services/<service_id>/report-schedules", methods=["POST"], needs=Role.OPERATOR)
@blueprint.arguments(schemas.ScheduleIn(), example=schemas.SCHEDULE_IN_EXAMPLE)
@refuses(*READING, errors.ServiceNotFound, errors.QuotaExceeded)
@blueprint.response(201, schemas.ScheduleShown())
def put_up_for_service(wanted: Json, service_id: str) -> Json:
    """Have a report on a service every day or week, kept, and mailed or posted where asked"""
    _require(service_id)
    return _put_up(wanted, service_id)


@blueprint.route("/report-schedules", methods=["POST"], needs=Role.OPERATOR, reach=Reach.TENANT)
@blueprint.arguments(schemas.ScheduleIn(), example=schemas.SCHEDULE_IN_EXAMPLE)
@refuses(*READING, errors.QuotaExceeded)
@blueprint.response(201, schemas.ScheduleShown())
def put_up_for_all(wanted: Json) -> Json:
    """Have a report on all services of the tenant every day or week"""
    return _put_up(wanted, "")


@blueprint.route("/services/<service_id>/report-schedules", needs=Role.VIEWER)
@refuses(errors.ServiceNotFound)
@blueprint.response(200, schemas.SchedulesShown())
def list_schedules_of_service(service_id: str) -> Json:
    """List the schedules of a service's reports"""
    _require(service_id)
    return _schedules(service_id)


@blueprint.route("/report-schedules", needs=Role.VIEWER)
@refuses()
@blueprint.response(200, schemas.SchedulesShown())
def list_schedules() -> Json:
    """List all schedules of reports"""
    return _schedules(None)


@blueprint.route("/report-schedules/<schedule_id>", methods=["DELETE"], needs=Role.OPERATOR)
@refuses(errors.ReportScheduleNotFound)
@blueprint.response(204)
def delete_schedule(schedule_id: str) -> None:
    """Remove a schedule; reports that it brought stay"""
    context.known_form(schedule_id, errors.ReportScheduleNotFound, "report schedule")
    context.core().reports.store.unschedule(context.scope(), schedule_id)


def _require(service_id: str) -> None:
    """Raises ServiceNotFound for a service that the caller does not see."""
    context.known_form(service_id, errors.ServiceNotFound, "service")
    context.core().serving.services.get(context.scope(), service_id)


def _ask(wanted: Json, service_id: str) -> tuple[Json, int, dict[str, str]]:
    made = ask.ask(
        context.core().reports,
        tenant_id=context.tenant_id(),
        service_id=service_id,
        format=Format(wanted["format"]),
        language=wanted["language"],
        timezone=wanted["timezone"],
        since=times.epoch_of(wanted["from_"], "from"),
        until=times.epoch_of(wanted["to"], "to"),
    )
    base = request.path.partition("/services/")[0].removesuffix("/").removesuffix("/reports")
    return {"report_id": made.id, "status": made.state.value}, 202, {"Location": f"{base}/reports/{made.id}"}


def _list(asked: Json, service_id: str | None) -> Json:
    limit: int = asked["limit"]
    found = context.core().reports.store.list(
        context.scope(), service_id=service_id, limit=limit + 1, before_id=paging.before(asked["cursor"])
    )
    return paging.page("reports", found, limit, lambda one: one.id, schemas.report)


def _put_up(wanted: Json, service_id: str) -> Json:
    post_to = wanted["post_to"] or ""
    if post_to:
        try:
            guard.check_early(post_to, allowed=context.may_call)
        except errors.CallbackRefused as error:
            why = error.message.partition(": ")[2]
            raise errors.InvalidField(f"The URL is refused: {why}", field="post_to") from None
    made = ask.put_up(
        context.core().reports,
        Schedule(
            id=new_id(),
            tenant_id=context.tenant_id(),
            service_id=service_id,
            every=Every(wanted["every"]),
            at=wanted["at"],
            timezone=wanted["timezone"],
            format=Format(wanted["format"]),
            language=wanted["language"],
            mail_to=tuple(wanted["mail_to"]),
            post_to=post_to,
        ),
    )
    return schemas.schedule(made)


def _schedules(service_id: str | None) -> Json:
    found = context.core().reports.store.schedules(context.scope(), service_id=service_id)
    return {"schedules": [schemas.schedule(one) for one in found]}
