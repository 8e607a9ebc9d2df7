"""Log entries: query, export, analysis; of a service for its readers, of the whole system for its administrators."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import orjson
from flask import Response

from api import context, paging, table, times
from api.blueprint import Blueprint
from api.documented import refuses
from api.errors import JSON
from api.schemas import logs as schemas
from api.schemas.task_changes import EVENT_STREAM
from inference import clock, errors
from inference.access.model import Reach, Role
from inference.logs import analyse, query
from inference.logs.model import Entry, Question

blueprint = Blueprint("logs", __name__, description="What was logged")

Json = dict[str, Any]

LINES = "application/x-ndjson"
CHUNK = 200
NEWEST = 10
HOUR_S = 3_600.0
_PAGE = {
    "200": {
        "description": "OK",
        "content": {JSON: {"schema": schemas.LogPage(), "example": {"logs": [schemas.ENTRY_EXAMPLE]}}},
    }
}
_EVENTS = {"200": {"description": "A stream", "content": {EVENT_STREAM: {"schema": {"type": "string"}}}}}
_EXPORT = {
    "200": {
        "description": "Every entry, the newest first: one JSON object a line, or a table with a heading",
        "content": {LINES: {"schema": {"type": "string"}}, "text/csv": {"schema": {"type": "string"}}},
    }
}


@blueprint.route("/services/<service_id>/logs", needs=Role.VIEWER)
@blueprint.arguments(schemas.LogsQuery(), location="query")
@refuses(errors.InvalidField, errors.UnknownField, errors.ServiceNotFound)
@blueprint.doc(responses=_PAGE)
def list_of_service(asked: Json, service_id: str) -> Response:
    """List what was logged of a service, newest first

    `level` is the least: `warning` gives errors, too.
    """
    _require(service_id)
    return _page(asked, service_id)


@blueprint.route("/logs", needs=Role.ADMIN, reach=Reach.SYSTEM)
@blueprint.arguments(schemas.SystemLogsQuery(), location="query")
@refuses(errors.InvalidField, errors.UnknownField)
@blueprint.doc(responses=_PAGE)
def list_of_system(asked: Json) -> Response:
    """List what was logged by the whole system, newest first"""
    return _page(asked, asked["service_id"])


@blueprint.route("/services/<service_id>/logs/export", needs=Role.VIEWER)
@blueprint.arguments(schemas.LogsExport(), location="query")
@refuses(errors.InvalidField, errors.UnknownField, errors.ServiceNotFound)
@blueprint.doc(responses=_EXPORT)
def export_of_service(asked: Json, service_id: str) -> Response:
    """Export what was logged of a service, streamed

    In the table, cells that a spreadsheet would run begin with `'`.
    """
    _require(service_id)
    return _export(asked, service_id)


@blueprint.route("/logs/export", needs=Role.ADMIN, reach=Reach.SYSTEM)
@blueprint.arguments(schemas.SystemLogsExport(), location="query")
@refuses(errors.InvalidField, errors.UnknownField)
@blueprint.doc(responses=_EXPORT)
def export_of_system(asked: Json) -> Response:
    """Export what was logged by the whole system, streamed"""
    return _export(asked, asked["service_id"])


@blueprint.route("/services/<service_id>/logs/analysis", needs=Role.VIEWER)
@blueprint.arguments(schemas.AnalysisQuery(), location="query")
@refuses(errors.InvalidField, errors.UnknownField, errors.ServiceNotFound)
@blueprint.response(200, schemas.AnalysisShown(), example=schemas.ANALYSIS_EXAMPLE)
def analyse_service(asked: Json, service_id: str) -> Json:
    """Show rates, groups of trouble and what a deployment changed

    Messages that differ in numbers, ids, paths and quoted names only are one group.
    """
    _require(service_id)
    return _analysis(asked, service_id)


@blueprint.route("/logs/analysis", needs=Role.ADMIN, reach=Reach.SYSTEM)
@blueprint.arguments(schemas.SystemAnalysisQuery(), location="query")
@refuses(errors.InvalidField, errors.UnknownField)
@blueprint.response(200, schemas.AnalysisShown(), example=schemas.ANALYSIS_EXAMPLE)
def analyse_system(asked: Json) -> Json:
    """Show the same of the whole system"""
    return _analysis(asked, asked["service_id"])


@blueprint.route("/services/<service_id>/logs/tail", needs=Role.VIEWER)
@blueprint.arguments(schemas.TailQuery(), location="query")
@refuses(errors.InvalidField, errors.UnknownField, errors.ServiceNotFound)
@blueprint.doc(responses=_EVENTS)
def tail_of_service(asked: Json, service_id: str) -> Response:
    """Follow what is logged of a service: server-sent events

    Event `log`, with an entry as its data, within two seconds or so. The front sends this call to the live process.
    Reached directly, without the front, the answer holds the newest entries.
    """
    _require(service_id)
    return _newest(asked, service_id)


@blueprint.route("/logs/tail", needs=Role.ADMIN, reach=Reach.SYSTEM)
@blueprint.arguments(schemas.TailQuery(), location="query")
@refuses(errors.InvalidField, errors.UnknownField)
@blueprint.doc(responses=_EVENTS)
def tail_of_system(asked: Json) -> Response:
    """Follow what is logged by the whole system: server-sent events"""
    return _newest(asked, None)


def _newest(asked: Json, service_id: str | None) -> Response:
    wanted = replace(_question({**asked, "from_": None, "to": None}, service_id), limit=NEWEST)
    found = context.core().logs.store.find(wanted)
    return Response(b"".join(schemas.event(entry) for entry in reversed(found)), content_type=EVENT_STREAM)


def _require(service_id: str) -> None:
    """Raises ServiceNotFound for a service that the caller does not see."""
    context.known_form(service_id, errors.ServiceNotFound, "service")
    context.core().serving.services.get(context.scope(), service_id)


def _question(asked: Json, service_id: str | None) -> Question:
    return query.question(
        service_id=service_id,
        level=asked["level"],
        since=times.epoch_of(asked["from_"], "from"),
        until=times.epoch_of(asked["to"], "to"),
        keyword=asked["keyword"],
        task_id=asked.get("task_id"),
    )


def _page(asked: Json, service_id: str | None) -> Response:
    limit: int = asked["limit"]
    wanted = replace(_question(asked, service_id), before_id=schemas.before_id(asked["cursor"]), limit=limit + 1)
    found = context.core().logs.store.find(wanted)
    body = paging.page("logs", found, limit, lambda entry: str(entry.id), schemas.shown)
    return Response(orjson.dumps(body), mimetype=JSON)


def _export(asked: Json, service_id: str | None) -> Response:
    entries = query.every(context.core().logs, _question(asked, service_id))
    is_table = asked["format"] == "csv"
    return Response(
        _gathered(_table(entries) if is_table else _lines(entries)),
        content_type=table.CONTENT_TYPE if is_table else LINES,
        headers={"Content-Disposition": f'attachment; filename="logs.{asked["format"]}"'},
    )


def _analysis(asked: Json, service_id: str | None) -> Json:
    logs, now = context.core().logs, clock.epoch_s()
    wanted = _question({**asked, "from_": None, "to": None}, service_id)
    until = times.epoch_of(asked["to"], "to") or now
    since = times.epoch_of(asked["from_"], "from") or until - HOUR_S
    found = analyse.analyse(logs, wanted, since=since, until=until)
    at = times.epoch_of(asked["around"], "around")
    if at is None and service_id is not None:
        at = logs.deploys.deployed_at(context.scope(), service_id)
    change = analyse.compare(logs, wanted, at=at, now=now) if at is not None and at < now else None
    return schemas.analysis_shown(found, change)


def _lines(entries: Iterator[Entry]) -> Iterator[bytes]:
    for entry in entries:
        yield orjson.dumps(schemas.shown(entry)) + b"\n"


def _table(entries: Iterator[Entry]) -> Iterator[bytes]:
    yield table.row(schemas.COLUMNS).encode()
    for entry in entries:
        yield table.row(schemas.cells(entry)).encode()


def _gathered(lines: Iterator[bytes]) -> Iterator[bytes]:
    """`CHUNK` lines a piece: each piece is a write to the network."""
    gathered: list[bytes] = []
    for line in lines:
        gathered.append(line)
        if len(gathered) >= CHUNK:
            yield b"".join(gathered)
            gathered.clear()
    yield b"".join(gathered)
