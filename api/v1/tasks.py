"""Tasks: submit one (the hot path), read, list."""

from typing import Any

from flask import Response, request

from api import body, context, paging, submission
from api.blueprint import Blueprint
from api.documented import READING, by_hand, refuses
from api.errors import JSON
from api.ready import Ready
from api.schemas import costs, task_in, task_view
from api.schemas import tasks as schemas
from api.schemas.task_filter import wanted
from api.submission import KEY, MAX_KEY
from inference import errors, tracing
from inference.access.model import Role
from inference.jobs import progress, query

blueprint = Blueprint("tasks", __name__, description="Submit inference tasks and read their answers")

REFUSED = (
    *READING,
    errors.InvalidTensor,
    errors.DataRefused,
    errors.TooLarge,
    errors.ServiceNotFound,
    errors.UploadNotFound,
    errors.InputRefused,
    errors.InputUnreachable,
    errors.TooManyWaiting,
    errors.WrongState,
    errors.IdempotencyMismatch,
    errors.BacklogFull,
    errors.QuotaExceeded,
    errors.BudgetExhausted,
)
KEY_HEADER = (
    KEY,
    {"type": "string", "pattern": f"^[ -~]{{1,{MAX_KEY}}}$"},
    "The same key with the same body gives the first answer again; another body: 409",
)


@blueprint.route("/services/<service_id>/tasks", methods=["POST"], needs=Role.SUBMITTER)
@by_hand(
    body={JSON: (schemas.ONE_TASK, schemas.SUBMIT_EXAMPLE)},
    answers={202: ("Committed: it will run", schemas.TaskAccepted, schemas.ACCEPTED_EXAMPLE)},
    kinds=REFUSED,
    headers=[KEY_HEADER],
)
def submit_task(service_id: str) -> Response:
    """Submit a task

    The front sends this call to the live process, which answers the same (api/live/submit.py).
    """
    return submitted(service_id)


def submitted(service_id: str) -> Response:
    """202 for the task in the body of this request, when it is committed. Raises what refuses it."""
    core, by = context.core(), context.principal()
    text = body.read(core.settings.api.body_limit_bytes, task_in.UPLOAD_WAY_OUT)
    steps = tracing.steps(core.jobs.traces)
    prepared = submission.prepare(core, by, service_id, text, request.headers.get(KEY))
    if steps is not None:
        steps.done("prepare")
    accepted = core.jobs.commit(prepared)
    if steps is not None:
        steps.done("commit")
    answer, location = submission.accepted(accepted, submission.base_of(request.path))
    return Ready.of(answer, 202, ("Location", location))


@blueprint.route("/tasks/<task_id>", needs=Role.VIEWER)
@by_hand(
    answers={200: ("The task", schemas.Task, schemas.TASK_EXAMPLE)},
    kinds=(errors.JobNotFound, errors.InvalidField),
    query=[
        (
            "wait",
            {"type": "number", "minimum": 0},
            "Seconds to wait for its end, 0 to 60 (more counts as 60); then it is shown as it is",
        ),
        ("cost", {"type": "boolean"}, "`true`: with `cost`, what its engine calls so far have cost"),
    ],
)
def show_task(task_id: str) -> Response:
    """Show a task, with its result when it is completed

    With `wait` the front sends this call to the live process, which waits without holding a thread. Reached
    directly, without the front, the answer comes at once.
    """
    context.known_form(task_id, errors.JobNotFound, "task")
    core = context.core()
    asked = task_view.asked(request.args.items(multi=True), limit_s=core.settings.api.wait_limit_s)
    view = query.get(core.jobs, scope=context.scope(), job_id=task_id)
    standing = query.standing(core.jobs, scope=context.scope(), view=view)
    cost = costs.shown_of_job(core, task_id) if asked.with_cost else None
    return Ready.of(task_view.render(view, standing, cost, progress.of_view(core.progress, view)))


@blueprint.route("/tasks", needs=Role.VIEWER)
@blueprint.arguments(schemas.AnyTaskQuery(), location="query")
@refuses(errors.InvalidField, errors.UnknownField, errors.ServiceNotFound)
@blueprint.alt_response(200, schema=schemas.TaskPage())
def list_tasks(asked: dict[str, Any]) -> Response:
    """List tasks without results, newest first if not asked otherwise"""
    if asked["service_id"] is None:
        return _page(asked, None)
    return _page_of_service(asked, asked["service_id"])


@blueprint.route("/services/<service_id>/tasks", needs=Role.VIEWER)
@blueprint.arguments(schemas.TaskQuery(), location="query")
@refuses(errors.InvalidField, errors.UnknownField, errors.ServiceNotFound)
@blueprint.alt_response(200, schema=schemas.TaskPage())
def list_tasks_of_service(asked: dict[str, Any], service_id: str) -> Response:
    """List the tasks of a service without results, newest first if not asked otherwise"""
    return _page_of_service(asked, service_id)


def _page_of_service(asked: dict[str, Any], service_id: str) -> Response:
    context.known_form(service_id, errors.ServiceNotFound, "service")
    context.core().jobs.directory.find(context.scope(), service_id)
    return _page(asked, service_id)


def _page(asked: dict[str, Any], service_id: str | None) -> Response:
    which = wanted(asked, service_id, before_id=paging.before(asked["cursor"]), limit=asked["limit"])
    found = query.find(context.core().jobs, scope=context.scope(), which=which)
    return Response(task_view.render_page(found.views, found.after), content_type=JSON)
