"""The results of a service, streamed: as many as there are, in memory that stays the same."""

from collections.abc import Iterator
from typing import Any

import orjson
from flask import Response

from api import context, lines
from api.blueprint import Blueprint
from api.documented import refuses
from api.errors import answer
from api.schemas.results import ResultsQuery
from api.schemas.task_filter import wanted
from api.schemas.tasks import TASK_EXAMPLE
from inference import errors
from inference.access.model import Role, Scope
from inference.ids import is_id
from inference.jobs.block import BulkStore, Page
from inference.jobs.model import JobFilter, JobView
from inference.jobs.shown import fields

PAGE = 1_000
PIECE = 100
"""Lines in one write to the network."""

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
    context.known_form(service_id, errors.ServiceNotFound, "service")
    core, scope = context.core(), context.scope()
    core.jobs.directory.find(scope, service_id)
    which = wanted(asked, service_id)
    after, limit = asked["after"], asked["limit"]
    if after is not None and not is_id(after):
        raise errors.InvalidField("The query parameter `after` must be a `task_id`.", field="after")
    first = core.bulk.page(scope, which, after=after, limit=min(PAGE, limit or PAGE))
    # Before the first line is sent an error can still have its own status; the front must not gather what follows.
    return Response(
        _lines(_views(core.bulk, scope, which, first, limit)),
        content_type=lines.KIND,
        headers={"X-Accel-Buffering": "no"},
    )


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


def _lines(pieces: Iterator[list[JobView]]) -> Iterator[bytes]:
    try:
        for piece in pieces:
            yield b"".join(
                [orjson.dumps(fields(one, with_result=True), option=orjson.OPT_APPEND_NEWLINE) for one in piece]
            )
    except errors.PenstockError as error:
        yield b'{"error":' + answer(error).body + b"}\n"
