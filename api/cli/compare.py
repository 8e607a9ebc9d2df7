"""`penstock job compare` and `penstock service compare`: answers side by side."""

from typing import Any

import click

from api.cli.asking import Call, shared
from api.cli.output import rows_of, say, table

TASKS = {
    "task_id": "ID", "model_version": "VERSION", "latency": "LATENCY s", "output": "OUTPUT", "max_abs": "MAX ABS",
    "mean_abs": "MEAN ABS", "cosine": "COSINE", "top1_agreement": "TOP-1", "agrees": "AGREES", "note": "NOTE",
}  # fmt: skip
SIDES = {
    "name": "SIDE", "tasks": "TASKS", "completed": "COMPLETED", "error_share": "ERRORS",
    "throughput_per_s": "PER s", "latency_p50": "P50 s", "latency_p95": "P95 s", "latency_p99": "P99 s",
}  # fmt: skip
PAIRS = {
    "output": "OUTPUT",
    "max_abs": "MAX ABS",
    "mean_abs": "MEAN ABS",
    "cosine": "COSINE",
    "top1_agreement": "TOP-1",
}


@click.command("compare")
@click.argument("job_ids", nargs=-1, required=True)
@click.option("--tolerance", type=float, default=None, help="Largest difference that still agrees: 0.00001.")
@shared
def tasks(call: Call, job_ids: tuple[str, ...], tolerance: float | None) -> None:
    """Compare the results of completed jobs with that of the first."""
    body: dict[str, Any] = {"task_ids": list(job_ids)}
    if tolerance is not None:
        body["tolerance"] = tolerance
    call.answer(call.client.compare_jobs(body), _show_tasks)


@click.command("compare")
@click.argument("service")
@click.argument("versions", nargs=2)
@click.option("--from", "from_", default=None, help="Only jobs submitted at or after this time.")
@click.option("--to", default=None, help="Only jobs submitted before this time.")
@shared
def versions(call: Call, service: str, versions: tuple[str, str], from_: str | None, to: str | None) -> None:
    """Compare two VERSIONS of the model of SERVICE (an id or a name) on the same inputs."""
    given = {"versions": list(versions), "from": from_, "to": to}
    body = {name: value for name, value in given.items() if value is not None}
    call.answer(call.client.compare_in_service(call.service_id(service), body), _show_sides)


def _show_tasks(body: dict[str, Any]) -> None:
    lines = [
        {**task, **output, "output": output["name"]} for task in rows_of(body, "tasks") for output in task["outputs"]
    ]
    table(TASKS, lines, nothing="These have no outputs.")
    winner = body["winner"]
    say(f"Fastest: {winner['fastest']}; closest to the first: {winner['closest'] or '-'}")


def _show_sides(body: dict[str, Any]) -> None:
    table(SIDES, rows_of(body, "sides"), nothing="There is nothing to compare.")
    pairs = body["pairs"]
    lines = [{"output": name, **one} for name, one in pairs["outputs"].items()]
    table(PAIRS, lines, nothing="No input was answered by both.")
    winner = body["winner"]
    say(f"Same input: {pairs['count']}, agreeing: {pairs['agreeing']}. Faster: {winner['faster'] or '-'}")
