"""What becomes of a task that was accepted: cancel it, run it again, move it in the queue; and all of its attempts."""

from typing import Any

from flask import Response, request

from api import context
from api.blueprint import Blueprint
from api.documented import READING, by_hand, refuses
from api.errors import JSON
from api.refusals import refusals
from api.schemas import task_changes as schemas
from api.schemas.common import EmptyIn
from api.schemas.tasks import Cancelled
from inference import clock, errors
from inference.access.model import Role
from inference.jobs import again, cancel, events
from inference.jobs.model import FINAL, Attempt, JobHistory, JobState, Renewed, Selection

blueprint = Blueprint("task_changes", __name__, description="Cancel tasks, run them again, move them in the queue")

_CANCEL_MANY = schemas.CancelManyIn()

AGAIN = (
    *READING,
    errors.JobNotFound,
    errors.WrongState,
    errors.BacklogFull,
    errors.QuotaExceeded,
    errors.HotUnavailable,
)


@blueprint.route("/tasks/<task_id>/cancel", methods=["POST"], needs=Role.SUBMITTER)
@blueprint.arguments(EmptyIn(), required=False)
@refuses(*READING, errors.JobNotFound, errors.WrongState)
@blueprint.response(200, Cancelled())
def cancel_task(_: dict[str, Any], task_id: str) -> dict[str, Any]:
    """Cancel a waiting task at once; ask for it when it runs"""
    context.known_form(task_id, errors.JobNotFound, "task")
    state = cancel.cancel(context.core().jobs, scope=context.scope(), job_id=task_id)
    return {"task_id": task_id, "status": state.value}


@blueprint.route("/services/<service_id>/tasks/cancel", methods=["POST"], needs=Role.SUBMITTER)
@by_hand(
    body={JSON: (schemas.CANCEL_MANY, schemas.CANCEL_EXAMPLE)},
    answers={200: ("What was done", schemas.CancelledMany, schemas.CANCELLED_EXAMPLE)},
    kinds=(*READING, errors.ServiceNotFound),
)
def cancel_tasks(service_id: str) -> dict[str, Any]:
    """Cancel the tasks of a service that a filter describes, or all of them

    Only tasks that were there when the call came. A list of `task_ids` cancels a batch.
    """
    context.known_form(service_id, errors.ServiceNotFound, "service")
    asked = Blueprint.ARGUMENTS_PARSER.parse(_CANCEL_MANY, request, location="json")
    which = _selection(service_id, asked)
    done = cancel.cancel_many(context.core().jobs, scope=context.scope(), which=which)
    return {"cancelled": done.cancelled, "requested": done.requested, "complete": done.is_complete}


def _selection(service_id: str, asked: dict[str, Any]) -> Selection:
    """Raises InvalidField for a body that says nothing, or everything and something."""
    wanted = asked.get("filter")
    if wanted is not None and "all" in asked:
        raise errors.InvalidField("`filter` and `all` stand both; give one.", field="all")
    if not wanted and "all" not in asked:
        raise errors.InvalidField(
            "`filter` names no condition; give one, or `all: true` to cancel every task of the service.", field="filter"
        )
    wanted = wanted or {}
    return Selection(
        service_id=service_id,
        state=JobState(wanted["status"]) if "status" in wanted else None,
        priority=wanted.get("priority"),
        created_from=_epoch(wanted, "created_from"),
        created_to=_epoch(wanted, "created_to"),
        job_ids=tuple(dict.fromkeys(wanted["task_ids"])) if "task_ids" in wanted else None,
    )


def _epoch(wanted: dict[str, Any], name: str) -> float | None:
    if name not in wanted:
        return None
    try:
        return clock.from_iso(wanted[name])
    except (ValueError, OverflowError) as error:
        raise errors.InvalidField(
            f"`filter.{name}` must be an ISO 8601 time such as 2026-11-20T12:00:00Z.", field=f"filter.{name}"
        ) from error


@blueprint.route("/tasks/<task_id>/retry", methods=["POST"], needs=Role.SUBMITTER)
@blueprint.arguments(EmptyIn(), required=False)
@refuses(*AGAIN)
@blueprint.response(200, schemas.Again())
def retry_task(_: dict[str, Any], task_id: str) -> dict[str, Any]:
    """Run a task again that failed, died, expired or was cancelled

    It begins a new generation with all of its attempts before it, and stands in the queue as if it came now. A deadline
    that has passed is dropped.
    """
    context.known_form(task_id, errors.JobNotFound, "task")
    return _again(task_id, again.retry(context.core().jobs, by=context.principal(), job_id=task_id))


@blueprint.route("/tasks/<task_id>/requeue", methods=["POST"], needs=Role.SUBMITTER)
@blueprint.arguments(EmptyIn(), required=False)
@refuses(*AGAIN)
@blueprint.response(200, schemas.Again())
def requeue_task(_: dict[str, Any], task_id: str) -> dict[str, Any]:
    """Run a task again that is over, however it ended; a result that it has is removed"""
    context.known_form(task_id, errors.JobNotFound, "task")
    return _again(task_id, again.requeue(context.core().jobs, by=context.principal(), job_id=task_id))


def _again(task_id: str, renewed: Renewed) -> dict[str, Any]:
    return {
        "task_id": task_id,
        "status": JobState.PENDING.value,
        "priority": renewed.priority,
        "generation": renewed.generation,
    }


@blueprint.route("/tasks/<task_id>", methods=["PATCH"], needs=Role.SUBMITTER)
@blueprint.arguments(schemas.PriorityIn())
@refuses(*READING, errors.JobNotFound, errors.WrongState)
@blueprint.response(200, schemas.Prioritised())
def prioritise_task(asked: dict[str, Any], task_id: str) -> dict[str, Any]:
    """Give a waiting task another priority"""
    context.known_form(task_id, errors.JobNotFound, "task")
    again.prioritise(context.core().jobs, scope=context.scope(), job_id=task_id, priority=asked["priority"])
    return {"task_id": task_id, "status": JobState.PENDING.value, "priority": asked["priority"]}


@blueprint.route("/tasks/<task_id>/attempts", needs=Role.VIEWER)
@refuses(errors.JobNotFound)
@blueprint.response(200, schemas.Attempts())
def list_attempts(task_id: str) -> dict[str, Any]:
    """Show every attempt at a task, with its error, of all generations"""
    context.known_form(task_id, errors.JobNotFound, "task")
    told = context.core().jobs.store.history(context.scope(), task_id)
    shown = [_attempt(one) for one in told.attempts]
    if told.job.state is JobState.RUNNING:
        shown.append(_under_way(told))
    return {
        "task_id": task_id,
        "status": told.job.state.value,
        "generation": told.job.generation,
        "attempts": shown,
    }


@blueprint.route("/tasks/<task_id>/events", needs=Role.VIEWER)
@blueprint.doc(parameters=[schemas.LAST_EVENT], responses={**refusals(errors.JobNotFound), **schemas.EVENTS})
def show_events(task_id: str) -> Response:
    """Follow a task: server-sent events, from the beginning or behind `Last-Event-ID`

    Ids are `<generation>.<attempt>.<event>`; the same history gives the same ids. The stream ends with the task, and
    `: ` comments come while nothing happens. The front sends this call to the live process. Reached directly, without
    the front, the answer holds what has happened so far.
    """
    context.known_form(task_id, errors.JobNotFound, "task")
    told = context.core().jobs.store.history(context.scope(), task_id)
    last = events.place_of(request.headers.get("Last-Event-ID"))
    news = events.after(events.events(told), last)
    if not news and told.job.state in FINAL:
        return Response(status=204)
    return Response(b"".join(events.text(task_id, event) for event in news), content_type=schemas.EVENT_STREAM)


def _attempt(one: Attempt) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "generation": one.generation,
        "attempt": one.attempt,
        "outcome": one.outcome,
        "worker": one.worker,
        "claimed_at": clock.iso(one.claimed_at),
        "started_at": clock.iso(one.started_at),
        "ended_at": clock.iso(one.ended_at),
        "batch_size": one.batch_size,
    }
    if one.error_code is not None:
        shown["error"] = {"code": one.error_code, "message": one.error_message or one.error_code}
    return shown


def _under_way(told: JobHistory) -> dict[str, Any]:
    return {
        "generation": told.job.generation,
        "attempt": told.job.attempts,
        "outcome": JobState.RUNNING.value,
        "worker": told.job.worker,
        "claimed_at": clock.iso(told.claimed_at),
        "started_at": clock.iso(told.job.started_at),
        "ended_at": None,
        "batch_size": told.job.batch_size,
    }
