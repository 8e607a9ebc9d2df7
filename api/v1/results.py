"""The results of a service, streamed: as many as there are, in memory that stays the same."""

from collections.abc import Iterator
from typing import Any

from flask import Response

from api import context, exported, lines, parquet, table
from api.blueprint import Blueprint
from api.documented import refuses
from api.errors import JSON
from api.schemas.results import ExportQuery, ResultsQuery
from api.schemas.task_filter import wanted
from api.schemas.tasks import TASK_EXAMPLE, Task
from inference import errors
from inference.access.model import Role, Scope
from inference.ids import is_id
from inference.jobs.block import BulkStore, Page
from inference.jobs.large import LargeResults
from inference.jobs.model import JobFilter, JobView

PAGE = 1_000
PIECE = 100
"""Lines in one write to the network."""
READ_BYTES = 8_000_000

blueprint = Blueprint("results", __name__, description="Results by the hundred thousand")


@blueprint.route("/services/<service_id>/results", needs=Role.VIEWER)
@blueprint.arguments(ResultsQuery(), location="query")
@refuses(errors.InvalidField, errors.UnknownField, errors.ServiceNotFound)
@blueprint.doc(
    responses={
        "200": {
            "description": "Tasks that are over, with their results, oldest first: one a line",
            "content": {lines.KIND: {"schema": {"type": "string"}, "example": TASK_EXAMPLE}},
        }
    }
)
def stream_results(asked: dict[str, Any], service_id: str) -> Response:
    """Stream the results of a service

    JSON Lines, in the order in which the tasks came; each line is a task as `GET /tasks/{task_id}` shows it. To go on
    after a broken connection, give the last `task_id` that came as `after`. What is not over when its turn comes is
    left out. When the database fails half way, the last line is `{"error": {...}}`.
    """
    core, scope = context.core(), context.scope()
    which = _which(asked, service_id)
    after, limit = asked["after"], asked["limit"]
    if after is not None and not is_id(after):
        raise errors.InvalidField("The query parameter `after` must be a `task_id`.", field="after")
    first = core.bulk.page(scope, which, after=after, limit=min(PAGE, limit or PAGE))
    # Before the first line is sent an error can still have its own status; the front must not gather what follows.
    return Response(
        exported.written(
            exported.FORMS["jsonl"], _whole(core.jobs.large, _views(core.bulk, scope, which, first, limit))
        ),
        content_type=lines.KIND,
        headers={"X-Accel-Buffering": "no"},
    )


@blueprint.route("/services/<service_id>/results/export", needs=Role.VIEWER)
@blueprint.arguments(ExportQuery(), location="query")
@refuses(errors.InvalidField, errors.UnknownField, errors.ServiceNotFound)
@blueprint.doc(
    responses={
        "200": {
            "description": "Tasks that are over, with their results, oldest first",
            "content": {
                table.CONTENT_TYPE: {"schema": {"type": "string"}},
                JSON: {"schema": {"type": "array", "items": Task()}, "example": [TASK_EXAMPLE]},
                lines.KIND: {"schema": {"type": "string"}, "example": TASK_EXAMPLE},
                parquet.CONTENT_TYPE: {"schema": {"type": "string", "format": "binary"}},
            },
        }
    }
)
def export_results(asked: dict[str, Any], service_id: str) -> Response:
    """Export the results of a service as a file, streamed

    The table has a heading and a row for each task; result and metadata are JSON in a cell, and a text that a
    spreadsheet would run begins with `'`. Parquet has the same columns with their types. When the database fails half
    way, the last row or line says so, the array is left open, and Parquet has no footer.
    """
    core, scope = context.core(), context.scope()
    which = _which(asked, service_id)
    form = exported.FORMS.get(asked["format"])
    first = core.bulk.page(scope, which, after=None, limit=PAGE)
    views = _whole(core.jobs.large, _views(core.bulk, scope, which, first, None))
    return Response(
        exported.as_parquet(views) if form is None else exported.written(form, views),
        content_type=parquet.CONTENT_TYPE if form is None else form.content_type,
        headers={
            "X-Accel-Buffering": "no",
            "Content-Disposition": f'attachment; filename="results-{service_id}.{asked["format"]}"',
        },
    )


def _which(asked: dict[str, Any], service_id: str) -> JobFilter:
    """Raises ServiceNotFound for a service that the caller does not see."""
    context.known_form(service_id, errors.ServiceNotFound, "service")
    context.core().jobs.directory.find(context.scope(), service_id)
    return wanted(asked, service_id)


def _views(store: BulkStore, scope: Scope, which: JobFilter, page: Page, limit: int | None) -> Iterator[list[JobView]]:
    left = limit
    while True:
        for at in range(0, len(page.views), PIECE):
            yield list(page.views[at : at + PIECE])
        if left is not None:
            left -= len(page.views)
        if page.after is None or left == 0:
            return
        page = store.page(scope, which, after=page.after, limit=min(PAGE, left or PAGE))


def _whole(large: LargeResults | None, pieces: Iterator[list[JobView]]) -> Iterator[list[JobView]]:
    """The same with large results in them, in smaller pieces: so much of them is in memory at a time.

    One that is longer than `READ_BYTES` stays a reference: it alone would be too much.
    """
    for piece in pieces:
        ready, size_bytes = list[JobView](), 0
        for view in piece:
            if view.result_ref is not None and large is not None:
                view = large.read_through(view, limit_bytes=READ_BYTES)
                size_bytes += len(view.result or b"")
            ready.append(view)
            if size_bytes >= READ_BYTES:
                yield ready
                ready, size_bytes = [], 0
        if ready:
            yield ready
