"""Comparisons: of tasks, of two versions on the same inputs, of two times."""

from typing import Any

import orjson
from flask import Response

from api import compared, context, times
from api.blueprint import Blueprint
from api.documented import READING, refuses
from api.errors import JSON
from api.schemas import compare as schemas
from inference import errors
from inference.access.model import Role
from inference.ids import is_id
from inference.jobs import query
from inference.jobs.large import whole
from inference.jobs.model import JobState
from inference.results import sides
from inference.results.model import Span

blueprint = Blueprint("compare", __name__, description="Answers side by side")

Json = dict[str, Any]

TEXT = "text/plain; charset=utf-8"
READ_BYTES = 64_000_000
"""Of large results that are compared at once."""


def _answers(schema: type[Any]) -> dict[str, Any]:
    content = {JSON: {"schema": schema()}, TEXT: {"schema": {"type": "string"}}}
    return {"200": {"description": "OK", "content": content}}


@blueprint.route("/tasks/compare", methods=["POST"], needs=Role.VIEWER)
@blueprint.arguments(schemas.CompareQuery(), location="query")
@blueprint.arguments(schemas.CompareTasksIn(), example=schemas.TASKS_EXAMPLE)
@refuses(*READING, errors.JobNotFound, errors.WrongState, errors.TooLarge, errors.ResultMissing)
@blueprint.doc(responses=_answers(schemas.TasksCompared))
def compare_tasks(asked: Json, wanted: Json) -> Response:
    """Compare the results of completed tasks with that of the first

    Numbers are compared element by element; `latency` counts from submission, `run_s` from the start.
    """
    ids: list[str] = wanted["task_ids"]
    if len(set(ids)) < len(ids):
        raise errors.InvalidField("The field `task_ids` names a task twice.", field="task_ids")
    found = query.get_many(context.core().jobs, scope=context.scope(), job_ids=[one for one in ids if is_id(one)])
    if missing := [one[:64] for one in ids if one not in found]:
        raise errors.JobNotFound(f"There is no task {missing[0]}.", task_id=missing[0], task_ids=missing)
    views = [found[one] for one in ids]
    if unlike := {view.id: view.state.value for view in views if view.state is not JobState.COMPLETED}:
        raise errors.WrongState(
            f"Only completed tasks have results to compare; {len(unlike)} of these are not.", tasks=unlike
        )
    views = whole(context.core().jobs.large, views, limit_bytes=READ_BYTES)
    if missing := [view.id for view in views if view.result_ref is not None]:
        raise errors.ResultMissing(
            f"The result of task {missing[0]} is not in the blob store of this host.", task_id=missing[0]
        )
    shown = compared.of_tasks(views, tolerance=wanted["tolerance"])
    return _answer(asked, shown, compared.tasks_table)


@blueprint.route("/services/<service_id>/compare", methods=["POST"], needs=Role.VIEWER)
@blueprint.arguments(schemas.CompareQuery(), location="query")
@blueprint.arguments(schemas.CompareServiceIn(), example=schemas.SERVICE_EXAMPLE)
@refuses(*READING, errors.ServiceNotFound)
@blueprint.doc(responses=_answers(schemas.ServiceCompared))
def compare_in_service(asked: Json, wanted: Json, service_id: str) -> Response:
    """Compare two versions on the same inputs, or two times

    Counts and errors are of all tasks in the range; latencies of the newest 5,000 completed ones of either side, and
    outputs of the newest 500 among them.
    """
    core, scope = context.core(), context.scope()
    context.known_form(service_id, errors.ServiceNotFound, "service")
    core.jobs.directory.find(scope, service_id)
    if ("versions" in wanted) == ("ranges" in wanted):
        raise errors.InvalidField("Give either `versions` or `ranges`.", field="versions")
    if "ranges" in wanted:
        if wanted["from_"] is not None or wanted["to"] is not None:
            raise errors.InvalidField("`from` and `to` go with `versions`; `ranges` has its own.", field="from")
        first, second = (_span(service_id, one, f"ranges.{index}.") for index, one in enumerate(wanted["ranges"]))
        found = sides.compare_spans(core.results, scope=scope, spans=(first, second))
    else:
        one, other = wanted["versions"]
        if one == other:
            raise errors.InvalidField("The field `versions` names a version twice.", field="versions")
        span = _span(service_id, wanted)
        found = sides.compare_versions(
            core.results,
            scope=scope,
            service_id=service_id,
            versions=(one, other),
            since=span.since,
            until=span.until,
            tolerance=wanted["tolerance"],
        )
    return _answer(asked, compared.of_service(service_id, found), compared.service_table)


def _span(service_id: str, given: Json, path: str = "") -> Span:
    since, until = times.range_of(given["from_"], given["to"], path=path)
    return Span(service_id=service_id, since=since, until=until)


def _answer(asked: Json, shown: Json, table: Any) -> Response:
    if asked["format"] == "table":
        return Response(table(shown), content_type=TEXT)
    return Response(orjson.dumps(shown), content_type=JSON)
