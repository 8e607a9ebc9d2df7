"""Many tasks in one call: a JSON list, all or nothing; or JSON Lines, streamed, of any length."""

import contextlib
import tempfile
from collections.abc import Iterator
from typing import IO

import orjson
from flask import Response, request

from api import body, context, handlers, lines, query, submission
from api.blueprint import Blueprint
from api.documented import by_hand
from api.errors import JSON, again, answer
from api.schemas import task_in
from api.schemas import tasks as schemas
from api.v1 import tasks
from inference import clock
from inference.access.model import Role
from inference.core import Core
from inference.errors import InvalidField, PenstockError, ServiceNotFound
from inference.jobs import bulk, submit
from inference.jobs.model import Accepted, JobSpec
from inference.registry.model import ModelVersion

KEPT_BYTES = 1 << 20
"""Ids that wait for the end of a body lie in memory up to here, and then in a file."""
ID_BYTES = 32
PIECE_IDS = 1_000

blueprint = Blueprint("batches", __name__, description="Submit many tasks at once")


@blueprint.route("/services/<service_id>/tasks/batch", methods=["POST"], needs=Role.SUBMITTER)
@by_hand(
    body={
        JSON: (schemas.BatchSubmission, schemas.BATCH_EXAMPLE),
        lines.KIND: (schemas.ONE_TASK, schemas.SUBMIT_EXAMPLE),
    },
    answers={202: ("Committed: they will run", schemas.BatchAccepted, schemas.BATCH_ACCEPTED_EXAMPLE)},
    kinds=tasks.REFUSED,
    headers=[tasks.KEY_HEADER],
    query=[("priority", schemas.PRIORITY, "Of the tasks that name none")],
)
def submit_batch(service_id: str) -> Response:
    """Submit many tasks

    A JSON body is all or nothing. JSON Lines (`application/x-ndjson`, one task body a line) may have any length:
    lines are committed as they come, and an error says at which line it stopped and what was accepted before.
    The answer comes when all is read; with `Accept: application/x-ndjson` it has one id a line.
    """
    context.known_form(service_id, ServiceNotFound, "service")
    if request.mimetype in lines.NAMES:
        body.refuse_packed(request.environ)
        return _submit_lines(service_id)
    core, by = context.core(), context.principal()
    text = body.read(
        core.settings.api.body_limit_bytes, " Send JSON Lines (Content-Type: application/x-ndjson) instead."
    )
    batch = task_in.read_batch(text, limit=core.settings.jobs.batch_limit)
    service, model = core.jobs.directory.find(by.scope, service_id)
    key, body_hash = submission.idempotency(request.headers.get(submission.KEY), service_id, text)
    priority = _default_priority()
    specs, stand_in = submission.fitted(core, service, model, lambda fits: _specify(core, batch, fits, priority))
    accepted = submit.submit(
        core.jobs,
        by=by,
        service_id=service_id,
        specs=specs,
        idempotency_key=key,
        body_hash=body_hash,
        stand_in=stand_in,
    )
    shown = {
        "task_ids": accepted.job_ids,
        "count": len(accepted.job_ids),
        "created_at": clock.iso(accepted.created_at),
    }
    return Response(orjson.dumps(shown), 202, content_type=JSON)


def _specify(core: Core, batch: task_in.BatchIn, model: ModelVersion, priority: int) -> list[JobSpec]:
    """One job per input. Raises what is wrong with the first bad one, naming its index."""
    is_keyed = submission.KEY in request.headers
    options = task_in.checked(batch, priority=priority, may_call=context.may_call, is_keyed=is_keyed)
    limit = core.settings.api.inline_limit_bytes
    specs = []
    for index, raw in enumerate(batch.input_data_list):
        try:
            parsed = task_in.parse_input(raw, model.signature.inputs, limit_bytes=limit)
        except PenstockError as error:
            raise again(error, f"input_data_list[{index}]", index=index) from error
        specs.append(task_in.spec(parsed, options))
    return specs


def _submit_lines(service_id: str) -> Response:
    if submission.KEY in request.headers:
        raise InvalidField(
            "Idempotency-Key does not go with JSON Lines, which are committed in parts; send a JSON list.",
            field="Idempotency-Key",
        )
    return _answer(
        _accept_lines(service_id, _default_priority()), as_lines=request.accept_mimetypes.best in lines.NAMES
    )


def _default_priority() -> int:
    text = query.read(request.args.items(multi=True), ("priority",)).get("priority", "0")
    if len(text) != 1 or text not in "0123456789":
        raise InvalidField("The query parameter `priority` must be a whole number from 0 to 9.", field="priority")
    return int(text)


def _answer(accepted: Iterator[Accepted], *, as_lines: bool) -> Response:
    """What was accepted, once all is read: a front that has begun to answer may hand on no more of the body.

    Raises the error that stopped it, if nothing was accepted before.
    """
    count, created_at, error = 0, clock.epoch_s(), None
    with contextlib.ExitStack() as opened:
        folder = str(context.core().settings.data_dir)
        ids = opened.enter_context(tempfile.SpooledTemporaryFile(KEPT_BYTES, dir=folder))
        try:
            for part in accepted:
                created_at = min(created_at, part.created_at)
                ids.write("".join(part.job_ids).encode())
                count += len(part.job_ids)
        except PenstockError as stopped:
            body.drain(request.stream, 2 * context.core().settings.api.body_limit_bytes)
            if not count:
                if "accepted" in stopped.details:
                    stopped.details["task_ids"] = []
                raise
            error = stopped
        if as_lines:
            end = b'{"count":%d}\n' % count if error is None else b'{"error":' + answer(error).body + b"}\n"
            response = Response(_listed(ids, b"", b'{"task_id":"', b'"}\n', b"", end), 202, content_type=lines.KIND)
        elif error is None:
            head = f'{{"count":{count},"created_at":"{clock.iso(created_at)}","task_ids":['.encode()
            response = Response(_listed(ids, head, b'"', b'"', b",", b"]}"), 202, content_type=JSON)
        else:
            response = handlers.refused(error)
            head = response.get_data()[:-2] + b',"task_ids":['
            response.response = _listed(ids, head, b'"', b'"', b",", b"]}}")
            response.headers.pop("Content-Length", None)
        response.call_on_close(opened.pop_all().close)
    return response


def _listed(ids: IO[bytes], head: bytes, before: bytes, behind: bytes, between: bytes, end: bytes) -> Iterator[bytes]:
    """Each id with what stands around it, in pieces."""
    with ids:
        ids.seek(0)
        while piece := ids.read(ID_BYTES * PIECE_IDS):
            told = [before + piece[at : at + ID_BYTES] + behind for at in range(0, len(piece), ID_BYTES)]
            yield head + between.join(told)
            head = between
        yield end


def _accept_lines(service_id: str, priority: int) -> Iterator[Accepted]:
    """Commits the body handful by handful; memory stays the same however long it is.

    Raises what is wrong with the first bad line, with `line`, and how many were `accepted` before it.
    """
    core, by = context.core(), context.principal()
    _, model = core.jobs.directory.find(by.scope, service_id)
    reader = lines.LineReader(core, by, model, priority=priority)
    accepted = number = 0
    for chunk in lines.handfuls(request.stream, reader.limit_bytes):
        found, bad = reader.read(chunk, before=number)
        try:
            if found:
                part = bulk.submit(core.jobs, core.bulk, by=by, service_id=service_id, tasks=found)
                accepted += len(part.job_ids)
                yield part
        except PenstockError as error:
            raise again(error, f"Lines from {number + 1}", line=number + 1, accepted=accepted) from error
        if bad is not None:
            line, cause = bad
            raise again(cause, f"Line {line}", line=line, accepted=accepted) from cause
        number += len(chunk)
    if not accepted:
        raise InvalidField("The body holds no line.", field="body")
