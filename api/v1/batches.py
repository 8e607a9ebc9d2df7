"""Many tasks in one call: a JSON list, all or nothing; or JSON Lines, streamed, of any length."""

import io
from collections.abc import Iterator
from typing import Any, Protocol

import orjson
from flask import Response, request, stream_with_context

from api import body, context, query, submission
from api.blueprint import Blueprint
from api.documented import by_hand
from api.errors import JSON, again, answer
from api.schemas import task_in
from api.schemas import tasks as schemas
from api.v1 import tasks
from inference import clock
from inference.access.model import Role
from inference.core import Core
from inference.errors import InvalidField, PenstockError, ServiceNotFound, TooLarge
from inference.jobs import submit
from inference.jobs.model import Accepted, JobSpec
from inference.registry.model import ModelVersion

LINES = frozenset(
    {"application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines",
     "application/jsonlines", "application/json-lines", "application/x-jsonl"}
)  # fmt: skip
CHUNK_LINES = 500
CHUNK_BYTES = 2 << 20
BUFFER_BYTES = 65_536

blueprint = Blueprint("batches", __name__, description="Submit many tasks at once")


@blueprint.route("/services/<service_id>/tasks/batch", methods=["POST"], needs=Role.SUBMITTER)
@by_hand(
    body={
        JSON: (schemas.BatchSubmission, schemas.BATCH_EXAMPLE),
        "application/x-ndjson": (schemas.ONE_TASK, schemas.SUBMIT_EXAMPLE),
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
    With `Accept: application/x-ndjson` the ids are streamed back, one a line.
    """
    context.known_form(service_id, ServiceNotFound, "service")
    if request.mimetype in LINES:
        body.refuse_packed(request.environ)
        return _submit_lines(service_id)
    core, by = context.core(), context.principal()
    text = body.read(
        core.settings.api.body_limit_bytes, " Send JSON Lines (Content-Type: application/x-ndjson) instead."
    )
    batch = task_in.read_batch(text, limit=core.settings.jobs.batch_limit)
    _, model = core.jobs.directory.find(by.scope, service_id)
    key, body_hash = submission.idempotency(request.headers.get(submission.KEY), service_id, text)
    accepted = submit.submit(
        core.jobs,
        by=by,
        service_id=service_id,
        specs=_specify(core, batch, model, _default_priority()),
        idempotency_key=key,
        body_hash=body_hash,
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
    accepted = _accept_lines(service_id, _default_priority())
    if request.accept_mimetypes.best in LINES:
        first = next(accepted, None)
        return Response(stream_with_context(_as_lines(first, accepted)), 202, content_type="application/x-ndjson")
    ids, created_at = bytearray(), clock.epoch_s()
    for part in accepted:
        created_at = min(created_at, part.created_at)
        ids += b"".join(b'"%s",' % task_id.encode() for task_id in part.job_ids)
    count = ids.count(b",")
    head = f'{{"count":{count},"created_at":"{clock.iso(created_at)}","task_ids":['.encode()
    return Response(head + bytes(ids[:-1]) + b"]}", 202, content_type=JSON)


def _default_priority() -> int:
    text = query.read(request.args.items(multi=True), ("priority",)).get("priority", "0")
    if len(text) != 1 or text not in "0123456789":
        raise InvalidField("The query parameter `priority` must be a whole number from 0 to 9.", field="priority")
    return int(text)


def _as_lines(first: Accepted | None, more: Iterator[Accepted]) -> Iterator[bytes]:
    """One id a line, then the count; or, at the end of what was accepted, the error."""
    count = 0
    part = first
    try:
        while part is not None:
            count += len(part.job_ids)
            yield b"".join(b'{"task_id":"%s"}\n' % task_id.encode() for task_id in part.job_ids)
            part = next(more, None)
        yield orjson.dumps({"count": count}) + b"\n"
    except PenstockError as error:
        error.details.pop("task_ids", None)
        yield b'{"error":' + answer(error).body + b"}\n"


def _accept_lines(service_id: str, priority: int) -> Iterator[Accepted]:
    """Commits the body chunk by chunk. Memory stays constant but for the ids.

    Raises what is wrong with the first bad line, with `line`, `accepted` and `task_ids` of what was committed.
    """
    core, by = context.core(), context.principal()
    _, model = core.jobs.directory.find(by.scope, service_id)
    ids: list[str] = []
    number = 0
    for chunk in _chunks(_reader(), _line_limit(core)):
        specs, bad = _read_lines(core, model, chunk, number, priority)
        try:
            if specs:
                part = submit.submit(core.jobs, by=by, service_id=service_id, specs=specs)
                ids += part.job_ids
                yield part
        except PenstockError as error:
            raise again(error, f"Lines from {number + 1}", line=number + 1, accepted=len(ids), task_ids=ids) from error
        if bad is not None:
            line, cause = bad
            raise again(cause, f"Line {line}", line=line, accepted=len(ids), task_ids=ids) from cause
        number += len(chunk)
    if not ids:
        raise InvalidField("The body holds no line.", field="body")


def _line_limit(core: Core) -> int:
    """The longest line that may still be a task: its input, its metadata and the rest."""
    return core.settings.api.inline_limit_bytes + task_in.METADATA_LIMIT_BYTES + 4096


def _read_lines(
    core: Core, model: ModelVersion, chunk: list[bytes], before: int, priority: int
) -> tuple[list[JobSpec], tuple[int, PenstockError] | None]:
    """The jobs of the good lines before the first bad one, and that one's number and error. Empty lines are skipped."""
    specs: list[JobSpec] = []
    for number, line in enumerate(chunk, start=before + 1):
        if not line.strip():
            continue
        try:
            if not line.endswith(b"\n") and len(line) >= _line_limit(core):
                raise TooLarge(
                    f"The line is longer than a task may be.{task_in.UPLOAD_WAY_OUT}",
                    limit_bytes=core.settings.api.inline_limit_bytes,
                )
            task = task_in.read_task(line)
            specs.append(submission.specify(core, context.principal(), task, model, priority=priority))
        except PenstockError as error:
            return specs, (number, error)
    return specs, None


def _chunks(reader: io.BufferedReader, limit_bytes: int) -> Iterator[list[bytes]]:
    """Lines in handfuls. A line longer than the limit comes cut, as the last of all."""
    chunk: list[bytes] = []
    size = 0
    while line := reader.readline(limit_bytes):
        chunk.append(line)
        size += len(line)
        is_cut = len(line) >= limit_bytes and not line.endswith(b"\n")
        if len(chunk) >= CHUNK_LINES or size >= CHUNK_BYTES or is_cut:
            yield chunk
            if is_cut:
                return
            chunk, size = [], 0
    if chunk:
        yield chunk


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


class _Raw(io.RawIOBase):
    """The request's stream as BufferedReader wants it; reading it line by line would be byte by byte."""

    def __init__(self, stream: _Readable) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        piece = self._stream.read(len(buffer))
        buffer[: len(piece)] = piece
        return len(piece)


def _reader() -> io.BufferedReader:
    return io.BufferedReader(_Raw(request.stream), BUFFER_BYTES)
