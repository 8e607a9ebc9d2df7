"""`penstock job`: submit, wait, read, cancel."""

import json
import time
from collections.abc import Iterator
from typing import IO, Any

import click

from api.cli.asking import Call, read_object, shared
from api.cli.failure import CallFailed
from api.cli.output import fields, rows_of, say, table

COLUMNS = {
    "task_id": "ID",
    "status": "STATUS",
    "priority": "PRIORITY",
    "latency": "LATENCY s",
    "batch_size": "BATCH",
    "attempts": "ATTEMPTS",
    "created_at": "SUBMITTED",
}
ATTEMPTS = {
    "generation": "GENERATION",
    "attempt": "ATTEMPT",
    "outcome": "OUTCOME",
    "worker": "WORKER",
    "started_at": "STARTED",
    "ended_at": "ENDED",
    "error": "ERROR",
}
FINAL = frozenset({"completed", "failed", "dead", "cancelled", "expired"})
BODY_FIELDS = frozenset({"input_data", "input_ref", "priority", "timeout_s", "deadline", "callback_url", "metadata"})


@click.group()
def job() -> None:
    """Submit jobs and read their answers."""


@job.command()
@click.argument("service")
@click.option("--input", "input_text", default=None, help="Input as JSON: inline, a file, or - for stdin.")
@click.option("--batch", default=None, help="Many inputs: a JSON Lines file, or - for stdin; streamed.")
@click.option(
    "--ids", type=click.File("wb", lazy=True), default=None, help="With --batch: where the ids go, a line each."
)
@click.option("--priority", type=click.IntRange(0, 9), default=None, help="0 to 9; 9 is the most urgent.")
@click.option("--timeout", "timeout_s", type=float, default=None, help="Seconds that one attempt may run.")
@click.option("--key", default=None, help="Idempotency key: the same key and input give the same job.")
@click.option("--wait", "is_waited", is_flag=True, help="Wait for the answer and print it.")
@shared
def submit(
    call: Call,
    service: str,
    input_text: str | None,
    batch: str | None,
    ids: IO[bytes] | None,
    is_waited: bool,
    **given: Any,
) -> None:
    """Submit a job to SERVICE (an id or a name).

    The input is {"tensor": [[...]]}, or a whole body: {"input_data": {...}, "priority": 5, ...}.
    """
    if (input_text is None) == (batch is None):
        raise click.UsageError("Give either --input or --batch.")
    if batch is not None:
        _submit_lines(call, service, batch, ids, is_waited, **given)
        return
    if ids is not None:
        raise click.UsageError("--ids goes with --batch.")
    body = _body(read_object(str(input_text), option="--input"), given["priority"], given["timeout_s"])
    accepted = call.client.submit(call.service_id(service), body, idempotency_key=given["key"])
    if not is_waited:
        call.answer(accepted)
        return
    _finish(call, wait_for(call, accepted["task_id"], limit_s=None))


def _submit_lines(call: Call, service: str, path: str, ids: IO[bytes] | None, is_waited: bool, **given: Any) -> None:
    if is_waited or given["key"] is not None or given["timeout_s"] is not None:
        raise click.UsageError("--batch goes with --priority only; read the answers with `job wait` or `job results`.")
    service_id = call.service_id(service)
    try:
        with click.open_file(path, "rb") as lines:
            if ids is not None:
                told = call.client.submit_lines_for_ids(service_id, map(_line, lines), priority=given["priority"])
                call.answer({"jobs": _copy_ids(told, ids)})
                return
            body = call.client.submit_lines(service_id, map(_line, lines), priority=given["priority"])
    except OSError as error:
        raise click.BadParameter(f"the file cannot be read: {error}", param_hint="--batch") from error
    call.answer(body, _show_batch)


def _copy_ids(told: Iterator[bytes], into: IO[bytes]) -> int:
    """How many there were. Raises CallFailed where a bad line ended it; what was accepted before is written."""
    count = 0
    for piece in told:
        for line in piece.splitlines():
            one = json.loads(line)
            if "error" in one:
                into.flush()
                raise _stopped(one["error"])
            if "task_id" in one:
                into.write(one["task_id"].encode() + b"\n")
                count += 1
    into.flush()
    return count


def _stopped(error: dict[str, Any]) -> CallFailed:
    """What the last line of a stream says when it did not come to its end."""
    return CallFailed(str(error.get("message")), code=str(error.get("code")), details=error.get("details") or {})


def _line(line: bytes) -> bytes:
    """A line as the API takes it: a whole body as it is, a bare input wrapped."""
    stripped = line.strip()
    if not stripped or b'"input_data"' in stripped or b'"input_ref"' in stripped:
        return stripped
    return b'{"input_data":' + stripped + b"}"


def _show_batch(body: dict[str, Any]) -> None:
    ids = body.get("task_ids", [])
    shown = {name: value for name, value in body.items() if name != "task_ids"}
    fields({"jobs": len(ids), "first": ids[0] if ids else None, "last": ids[-1] if ids else None, **shown})


def _body(given: dict[str, Any], priority: int | None, timeout_s: float | None) -> dict[str, Any]:
    """A whole body as it is, a bare input wrapped; options win over the body's own fields."""
    is_whole = bool({"input_data", "input_ref"} & set(given)) and set(given) <= BODY_FIELDS
    body: dict[str, Any] = dict(given) if is_whole else {"input_data": given}
    if priority is not None:
        body["priority"] = priority
    if timeout_s is not None:
        body["timeout_s"] = timeout_s
    return body


@job.command()
@click.argument("job_id")
@shared
def get(call: Call, job_id: str) -> None:
    """Show a job: its state, and its result if there is one."""
    call.answer(call.client.job(job_id))


@job.command()
@click.argument("job_id")
@click.option("--output", "-o", type=click.File("wb", lazy=True), default="-", help="A file; stdout by default.")
@shared
def result(call: Call, job_id: str, output: IO[bytes]) -> None:
    """Write the result of a completed job, of any size, as JSON."""
    for piece in call.client.result(job_id):
        output.write(piece)
    output.flush()


@job.command()
@click.argument("service")
@click.option("--output", "-o", type=click.File("wb", lazy=True), default="-", help="A file; stdout by default.")
@click.option("--status", default=None, help="Only jobs that ended so; otherwise all that are over.")
@click.option("--priority", type=click.IntRange(0, 9), default=None, help="Only jobs of this priority.")
@click.option("--from", "from_", default=None, help="Only jobs submitted at or after this time.")
@click.option("--to", default=None, help="Only jobs submitted before this time.")
@click.option("--after", default=None, help="Go on behind this job: the last one that came.")
@click.option("--limit", type=int, default=None, help="At most so many.")
@shared
def results(call: Call, service: str, output: IO[bytes], from_: str | None, **filters: Any) -> None:
    """Download the results of SERVICE (an id or a name) as JSON Lines, oldest first."""
    last = b""
    try:
        for piece in call.client.results(call.service_id(service), **{"from": from_}, **filters):
            rest, _, line = piece.rstrip(b"\n").rpartition(b"\n")
            if line.startswith(b'{"error":'):
                output.write(rest + b"\n" if rest else b"")
                last = rest.rpartition(b"\n")[2] or last
                raise _stopped(json.loads(line)["error"])
            output.write(piece)
            last = line
    except CallFailed:
        if last:
            say(f"To go on: --after {json.loads(last)['task_id']}")
        raise
    output.flush()


@job.command()
@click.argument("service")
@click.option("--format", type=click.Choice(["csv", "json", "jsonl", "parquet"]), default="csv", show_default=True)
@click.option("--output", "-o", type=click.File("wb", lazy=True), default="-", help="A file; stdout by default.")
@click.option("--status", default=None, help="Only jobs that ended so; otherwise all that are over.")
@click.option("--priority", type=click.IntRange(0, 9), default=None, help="Only jobs of this priority.")
@click.option("--from", "from_", default=None, help="Only jobs submitted at or after this time.")
@click.option("--to", default=None, help="Only jobs submitted before this time.")
@click.option("--model-version", default=None, help="Only jobs that this version took.")
@click.option("--error", "error_code", default=None, help="Only jobs that ended with this code.")
@shared
def export(call: Call, service: str, output: IO[bytes], from_: str | None, **asked: Any) -> None:
    """Write the results of SERVICE (an id or a name) into a file, oldest first."""
    tail = b""
    for piece in call.client.export(call.service_id(service), **{"from": from_}, **asked):
        output.write(piece)
        tail = (tail + piece)[-8192:]
    output.flush()
    last = tail.rstrip(b"\n").rpartition(b"\n")[2]
    if last.startswith((b'{"error":', b",,incomplete,")):
        raise CallFailed("The file is not whole: its last line says why.", code="incomplete")


@job.command()
@click.argument("job_id")
@click.option("--timeout", "limit_s", type=float, default=None, help="Give up after so many seconds (exit code 1).")
@shared
def wait(call: Call, job_id: str, limit_s: float | None) -> None:
    """Wait until a job is over. Exit code 0 only if it completed."""
    _finish(call, wait_for(call, job_id, limit_s=limit_s))


@job.command()
@click.argument("job_id")
@shared
def cancel(call: Call, job_id: str) -> None:
    """Cancel a job that waits."""
    call.answer(call.client.cancel_job(job_id))


@job.command("cancel-many")
@click.argument("service")
@click.option("--status", type=click.Choice(["pending", "running"]), default=None, help="Only jobs in this state.")
@click.option("--priority", type=click.IntRange(0, 9), default=None, help="Only jobs of this priority.")
@click.option("--from", "created_from", default=None, help="Only jobs submitted at or after this time.")
@click.option("--to", "created_to", default=None, help="Only jobs submitted before this time.")
@click.option("--all", "is_all", is_flag=True, help="Every job of the service that is not over.")
@shared
def cancel_many(call: Call, service: str, is_all: bool, **conditions: Any) -> None:
    """Cancel the jobs of SERVICE (an id or a name) that fit every condition given."""
    wanted = {name: value for name, value in conditions.items() if value is not None}
    if is_all == bool(wanted):
        raise click.UsageError("Give conditions, or --all.")
    call.answer(call.client.cancel_jobs(call.service_id(service), {"all": True} if is_all else {"filter": wanted}))


@job.command()
@click.argument("job_id")
@shared
def retry(call: Call, job_id: str) -> None:
    """Run a job again that failed, died, expired or was cancelled."""
    call.answer(call.client.rerun_job(job_id, "retry"))


@job.command()
@click.argument("job_id")
@shared
def requeue(call: Call, job_id: str) -> None:
    """Run a job again that is over, however it ended. A result that it has is removed."""
    call.answer(call.client.rerun_job(job_id, "requeue"))


@job.command()
@click.argument("job_id")
@click.argument("priority", type=click.IntRange(0, 9))
@shared
def prioritise(call: Call, job_id: str, priority: int) -> None:
    """Give a job that waits another PRIORITY: 0 to 9; 9 is the most urgent."""
    call.answer(call.client.prioritise_job(job_id, priority))


@job.command()
@click.argument("job_id")
@shared
def attempts(call: Call, job_id: str) -> None:
    """List every attempt at a job, of all generations, with its error."""
    call.answer(
        call.client.attempts(job_id),
        lambda body: table(ATTEMPTS, _attempts_of(body), nothing="No attempt has begun yet."),
    )


def _attempts_of(body: dict[str, Any]) -> list[dict[str, Any]]:
    return [{**row, "error": (row.get("error") or {}).get("message")} for row in rows_of(body, "attempts")]


@job.command("list")
@click.option("--service", default=None, help="Only jobs of this service (an id or a name).")
@click.option("--status", default=None, help="Only jobs in this state.")
@click.option("--priority", type=click.IntRange(0, 9), default=None)
@click.option("--from", "from_", default=None, help="Only jobs submitted at or after this time.")
@click.option("--to", default=None, help="Only jobs submitted before this time.")
@click.option("--model-version", default=None, help="Only jobs that this version took.")
@click.option("--worker", default=None, help="Only jobs of this worker.")
@click.option("--error", "error_code", default=None, help="Only jobs that ended with this code.")
@click.option("--sort", type=click.Choice(["newest", "oldest"]), default=None, help="Which come first: the newest.")
@click.option("--limit", default=100, show_default=True)
@click.option("--cursor", default=None, help="Go on where the last page ended.")
@shared
def list_(call: Call, service: str | None, limit: int, from_: str | None, **filters: Any) -> None:
    """List jobs, newest first if not asked otherwise."""
    service_id = call.service_id(service) if service is not None else None
    body = call.client.jobs(service_id=service_id, limit=limit, **{"from": from_}, **filters)
    call.answer(body, lambda page: table(COLUMNS, rows_of(page, "tasks"), nothing="There are no such jobs."))
    if body.get("next"):
        say(f"More: --cursor {body['next']}")


def wait_for(call: Call, job_id: str, *, limit_s: float | None) -> dict[str, Any]:
    """The job when it is over, or as it is when `limit_s` is; asks by long polls."""
    until = None if limit_s is None else time.monotonic() + limit_s
    while True:
        left_s = 30.0 if until is None else max(0.0, min(30.0, until - time.monotonic()))
        body = call.client.job(job_id, wait_s=left_s)
        if body.get("status") in FINAL or (until is not None and time.monotonic() >= until):
            return body


def _finish(call: Call, body: dict[str, Any]) -> None:
    call.answer(body)
    if body.get("status") != "completed":
        raise SystemExit(1)
