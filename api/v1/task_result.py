"""The result of one task as a file: streamed from the blob store when it is large."""

from flask import Response

from api import context, filed
from api.blueprint import Blueprint
from api.documented import refuses
from api.errors import JSON
from api.ready import Ready
from inference import errors
from inference.access.model import Role
from inference.jobs import query
from inference.jobs.model import JobState, JobView, ResultRef

blueprint = Blueprint("task_result", __name__, description="Results that are too large to be shown with their task")

EXAMPLE = {"scores": [[0.01, 0.99]]}


@blueprint.route("/tasks/<task_id>/result", needs=Role.VIEWER)
@refuses(errors.JobNotFound, errors.WrongState, errors.ResultMissing)
@blueprint.doc(
    responses={
        "200": {
            "description": "The result, the JSON that `result` of the task would hold",
            "content": {JSON: {"schema": {"type": "object"}, "example": EXAMPLE}},
        }
    }
)
def show_result(task_id: str) -> Response:
    """Get the result of a completed task, of any size

    A large one is streamed, with its SHA-256 as the ETag; parts of it can be asked for (`Range`).
    """
    context.known_form(task_id, errors.JobNotFound, "task")
    view = query.get(context.core().jobs, scope=context.scope(), job_id=task_id)
    if view.state is not JobState.COMPLETED:
        raise errors.WrongState(
            f"Task {task_id} is {view.state.value}; only a completed task has a result.",
            state=view.state,
            allowed=[JobState.COMPLETED],
        )
    if view.result_ref is None:
        return Ready.of(view.result if view.result is not None else b"null")
    return _file(view, view.result_ref)


def _file(view: JobView, ref: ResultRef) -> Response:
    """Raises ResultMissing."""
    large = context.core().jobs.large
    try:
        if large is not None:
            path = large.path(ref)
            return filed.answer(path, sha256=ref.sha256, size_bytes=ref.size_bytes, content_type=JSON)
    except (errors.NotFound, FileNotFoundError):
        pass
    raise errors.ResultMissing(
        f"The result of task {view.id} is not in the blob store of this host.", task_id=view.id, sha256=ref.sha256
    )
