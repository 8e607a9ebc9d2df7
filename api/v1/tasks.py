"""Tasks: submit one (the hot path), read, list."""

import hashlib
from typing import Any

from flask import Response, request

from api import body, context, paging, times
from api.blueprint import Blueprint
from api.documented import READING, by_hand, refuses
from api.errors import JSON
from api.ready import Ready
from api.schemas import task_in, task_view
from api.schemas import tasks as schemas
from inference import clock, errors
from inference.access.model import Role
from inference.core import Core
from inference.jobs import inputs, query, submit
from inference.jobs.model import JobFilter, JobSpec, JobState
from inference.registry.model import ModelVersion

KEY = "Idempotency-Key"
MAX_KEY = 255

blueprint = Blueprint("tasks", __name__, description="Submit inference tasks and read their answers")

REFUSED = (
    *READING,
    errors.InvalidTensor,
    errors.DataRefused,
    errors.TooLarge,
    errors.ServiceNotFound,
    errors.UploadNotFound,
    errors.WrongState,
    errors.IdempotencyMismatch,
    errors.BacklogFull,
    errors.QuotaExceeded,
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
    """Submit a task"""
    core, by = context.core(), context.principal()
    context.known_form(service_id, errors.ServiceNotFound, "service")
    text = body.read(core.settings.api.body_limit_bytes, task_in.UPLOAD_WAY_OUT)
    task = task_in.read_task(text)
    _, model = core.jobs.directory.find(by.scope, service_id)
    accepted = submit.submit(
        core.jobs,
        by=by,
        service_id=service_id,
        specs=(specify(core, task, model, is_keyed=KEY in request.headers),),
        **idempotency(service_id, text),
    )
    task_id, created_at = accepted.job_ids[0], clock.iso(accepted.created_at)
    answer = f'{{"task_id":"{task_id}","status":"pending","created_at":"{created_at}"}}'
    return Ready.of(answer.encode(), 202, ("Location", f"{base()}/tasks/{task_id}"))


def specify(
    core: Core, task: task_in.TaskIn, model: ModelVersion, *, priority: int = 0, is_keyed: bool = False
) -> JobSpec:
    """The checked job that a task stands for. Raises what is wrong with it."""
    options = task_in.checked(task, priority=priority, may_call=context.may_call, is_keyed=is_keyed)
    signature, is_inline = model.signature.inputs, bool(task.input_data)
    if is_inline == isinstance(task.input_ref, str):
        what = "stand both" if is_inline else "are both missing"
        raise errors.InvalidField(f"`input_data` and `input_ref` {what}; give one.", field="input_data")
    if is_inline:
        limit = core.settings.api.inline_limit_bytes
        return task_in.spec(task_in.parse_input(task.input_data, signature, limit_bytes=limit), options)
    return task_in.spec(inputs.parse_file(_uploaded(core, str(task.input_ref)), inputs=signature), options)


def _uploaded(core: Core, reference: str) -> bytes:
    kind, _, upload_id = reference.partition(":")
    if kind != "upload" or not upload_id:
        raise errors.InvalidField("`input_ref` must be `upload:<upload_id>`.", field="input_ref")
    context.known_form(upload_id, errors.UploadNotFound, "upload")
    blob = core.registry.uploads.get(context.tenant_id(), upload_id)
    if blob.size_bytes > inputs.REFERENCE_LIMIT_BYTES:
        raise errors.TooLarge(
            f"The uploaded input is {blob.size_bytes} bytes; at most {inputs.REFERENCE_LIMIT_BYTES} are accepted.",
            limit_bytes=inputs.REFERENCE_LIMIT_BYTES,
            size_bytes=blob.size_bytes,
        )
    return core.registry.blobs.path(blob.key).read_bytes()


def idempotency(service_id: str, text: bytes) -> dict[str, Any]:
    """Key and hash of this request, as `submit` wants them; empty without a key. Raises InvalidField."""
    key = request.headers.get(KEY)
    if key is None:
        return {}
    if not 0 < len(key) <= MAX_KEY or not key.isascii() or not key.isprintable():
        raise errors.InvalidField(
            f"The header Idempotency-Key must be 1 to {MAX_KEY} printable ASCII characters.", field="Idempotency-Key"
        )
    return {"idempotency_key": key, "body_hash": hashlib.sha256(service_id.encode() + b"\n" + text).digest()}


def base() -> str:
    """The base path under which this request came."""
    return context.ALIAS if request.path.startswith(context.ALIAS) else context.BASE


@blueprint.route("/tasks/<task_id>", needs=Role.VIEWER)
@by_hand(
    answers={200: ("The task", schemas.Task, schemas.TASK_EXAMPLE)},
    kinds=(errors.JobNotFound, errors.InvalidField),
    query=[
        (
            "wait",
            {"type": "number", "minimum": 0},
            "Seconds to wait for its end, 0 to 60 (more counts as 60); then it is shown as it is",
        )
    ],
)
def show_task(task_id: str) -> Response:
    """Show a task, with its result when it is completed

    With `wait` the front sends this call to the live process, which waits without holding a thread. Reached
    directly, without the front, the answer comes at once.
    """
    context.known_form(task_id, errors.JobNotFound, "task")
    wait_limit = context.core().settings.api.wait_limit_s
    task_view.wait_s(request.args.items(multi=True), limit_s=wait_limit)
    view = query.get(context.core().jobs, scope=context.scope(), job_id=task_id)
    return Ready.of(task_view.render(view, query.standing(context.core().jobs, scope=context.scope(), view=view)))


@blueprint.route("/tasks", needs=Role.VIEWER)
@blueprint.arguments(schemas.AnyTaskQuery(), location="query")
@refuses(errors.InvalidField, errors.UnknownField, errors.ServiceNotFound)
@blueprint.alt_response(200, schema=schemas.TaskPage())
def list_tasks(asked: dict[str, Any]) -> Response:
    """List tasks, newest first, without results"""
    if asked["service_id"] is None:
        return _page(asked, None)
    return _page_of_service(asked, asked["service_id"])


@blueprint.route("/services/<service_id>/tasks", needs=Role.VIEWER)
@blueprint.arguments(schemas.TaskQuery(), location="query")
@refuses(errors.InvalidField, errors.UnknownField, errors.ServiceNotFound)
@blueprint.alt_response(200, schema=schemas.TaskPage())
def list_tasks_of_service(asked: dict[str, Any], service_id: str) -> Response:
    """List the tasks of a service, newest first, without results"""
    return _page_of_service(asked, service_id)


def _page_of_service(asked: dict[str, Any], service_id: str) -> Response:
    context.known_form(service_id, errors.ServiceNotFound, "service")
    context.core().jobs.directory.find(context.scope(), service_id)
    return _page(asked, service_id)


def _page(asked: dict[str, Any], service_id: str | None) -> Response:
    limit: int = asked["limit"]
    which = JobFilter(
        service_id=service_id,
        state=JobState(asked["status"]) if asked["status"] else None,
        priority=asked["priority"],
        created_from=times.epoch_of(asked["from_"], "from"),
        created_to=times.epoch_of(asked["to"], "to"),
        before_id=paging.before(asked["cursor"]),
        limit=limit + 1,
    )
    found = list(query.find(context.core().jobs, scope=context.scope(), which=which))
    following = found[limit - 1].id if len(found) > limit else None
    return Response(task_view.render_page(found[:limit], following), content_type=JSON)
