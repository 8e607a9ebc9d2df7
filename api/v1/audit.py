"""The audit record: list, export, verify."""

from collections.abc import Iterable, Iterator
from typing import Any

from flask import Response

from api import context, paging, table, times
from api.blueprint import Blueprint
from api.documented import refuses
from api.schemas import audit as schemas
from inference import errors
from inference.access import audit, chain
from inference.access.model import AuditRecord, Reach, Role
from inference.access.ports import AuditFilter

blueprint = Blueprint("audit", __name__, description="Who changed what, when, and from where")

Json = dict[str, Any]

LINES = "application/x-ndjson"
CHUNK = 200


@blueprint.route("/audit", needs=Role.ADMIN, reach=Reach.TENANT)
@blueprint.arguments(schemas.AuditQuery(), location="query")
@refuses(errors.InvalidField, errors.UnknownField, errors.TenantNotFound)
@blueprint.response(200, schemas.RecordPage(), example={"records": [schemas.RECORD_EXAMPLE]})
def list_records(asked: Json) -> Json:
    """List what was changed, newest first

    System keys see the records of every tenant, others those of their own.
    """
    limit: int = asked["limit"]
    which = AuditFilter(
        tenant_id=asked["tenant_id"],
        action=asked["action"],
        actor_id=asked["actor"],
        object_kind=asked["object_kind"],
        object_id=asked["object_id"],
        at_from=times.epoch_of(asked["from_"], "from"),
        at_to=times.epoch_of(asked["to"], "to"),
        before_seq=schemas.before_seq(asked["cursor"]),
        limit=limit + 1,
    )
    found = audit.find(context.core().access, by=context.principal(), which=which)
    return paging.page("records", found, limit, lambda record: str(record.seq), chain.shown)


@blueprint.route("/audit/export", needs=Role.ADMIN, reach=Reach.TENANT)
@blueprint.arguments(schemas.ExportQuery(), location="query")
@refuses(errors.InvalidField, errors.UnknownField, errors.TenantNotFound)
@blueprint.doc(
    responses={
        "200": {
            "description": "Every record, oldest first: one JSON object a line, or a table with a heading",
            "content": {LINES: {"schema": {"type": "string"}}, "text/csv": {"schema": {"type": "string"}}},
        }
    }
)
def export_records(asked: Json) -> Response:
    """Export the records, oldest first, streamed

    The lines are what docs/audit.md verifies. In the table, cells that a spreadsheet would run begin with `'`.
    """
    which = AuditFilter(
        tenant_id=asked["tenant_id"],
        at_from=times.epoch_of(asked["from_"], "from"),
        at_to=times.epoch_of(asked["to"], "to"),
    )
    records = audit.export(context.core().access, by=context.principal(), which=which)
    is_table = asked["format"] == "csv"
    lines = _table(records) if is_table else _lines(records)
    return Response(
        _gathered(lines),
        content_type=table.CONTENT_TYPE if is_table else LINES,
        headers={"Content-Disposition": f'attachment; filename="audit.{asked["format"]}"'},
    )


def _lines(records: Iterable[AuditRecord]) -> Iterator[str]:
    for record in records:
        yield chain.canonical(chain.shown(record)) + "\n"


def _table(records: Iterable[AuditRecord]) -> Iterator[str]:
    names = tuple(schemas.RECORD_EXAMPLE)
    yield table.row(names)
    for record in records:
        shown = chain.shown(record)
        yield table.row([_cell(shown[name]) for name in names])


def _cell(value: Any) -> str:
    return chain.canonical(value) if isinstance(value, dict) else str(value)


def _gathered(lines: Iterator[str]) -> Iterator[bytes]:
    """`CHUNK` lines a piece: each piece is a write to the network."""
    gathered: list[str] = []
    for line in lines:
        gathered.append(line)
        if len(gathered) >= CHUNK:
            yield "".join(gathered).encode()
            gathered.clear()
    yield "".join(gathered).encode()


@blueprint.route("/audit/verify", needs=Role.ADMIN, reach=Reach.SYSTEM)
@refuses()
@blueprint.response(200, schemas.Verified(), example=schemas.SOUND_EXAMPLE)
def verify_records() -> Json:
    """Verify that no record is missing or was changed

    Reads all of them. Keep `head` elsewhere: whoever can write to the database can write a whole new chain, but not
    one with the head that you kept.
    """
    return schemas.verified(audit.verify(context.core().access))
