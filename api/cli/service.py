"""`penstock service`: models that run."""

import time
from collections.abc import Callable
from typing import Any

import click

from api.cli.asking import Call, read_object, shared
from api.cli.failure import CallFailed
from api.cli.output import fields, rows_of, say, table

COLUMNS = {
    "service_id": "ID",
    "name": "NAME",
    "status": "STATUS",
    "priority": "PRIORITY",
    "replicas": "REPLICAS",
    "instances": "INSTANCES",
    "reason": "REASON",
    "created_at": "CREATED",
}
REPLICAS = {
    "replica_id": "REPLICA",
    "status": "STATUS",
    "device": "DEVICE",
    "node_id": "NODE",
    "instances_ready": "READY",
    "restarts": "RESTARTS",
    "reason": "REASON",
}
DECISIONS = {"at": "AT", "from": "FROM", "to": "TO", "policy": "POLICY", "reason": "REASON"}
EVENTS = {"at": "AT", "from": "FROM", "to": "TO", "reason": "REASON"}


@click.group()
def service() -> None:
    """Create, start, scale and watch services."""


@service.command()
@click.argument("model")
@click.option("--name", default=None, help="A name that other commands accept in place of the id.")
@click.option("--replicas", type=click.IntRange(min=0), default=None, help="Celery nodes.")
@click.option("--instances", type=click.IntRange(min=1), default=None, help="Engine processes of each node.")
@click.option("--gpu", type=click.IntRange(min=0), default=None, help="GPUs each replica needs.")
@click.option("--cpu", type=float, default=None, help="CPU cores to reserve for each replica.")
@click.option("--memory", default=None, help='Memory to reserve for each replica, for example "16Gi".')
@click.option("--config", default=None, help="The whole config, a JSON object: inline, a file, or - for stdin.")
@click.option("--start", "is_started", is_flag=True, help="Start it at once, and wait until it runs.")
@shared
def create(call: Call, model: str, name: str | None, config: str | None, is_started: bool, **given: Any) -> None:
    """Create a service for MODEL (an id, name@version, or a name)."""
    wanted = read_object(config, option="--config") if config is not None else {}
    wanted |= {key: given[key] for key in ("replicas", "instances") if given[key] is not None}
    needs = {key: given[key] for key in ("gpu", "cpu", "memory") if given[key] is not None}
    if needs:
        wanted["resource_requirements"] = {**wanted.get("resource_requirements", {}), **needs}
    body = {"model_id": call.model_id(model), "config": wanted}
    created = call.client.create_service(body if name is None else {**body, "name": name})
    if is_started:
        call.client.move_service(created["service_id"], "start")
        created = wait_until_running(call, created["service_id"])
    call.answer(created, _draw)


@service.command("list")
@click.option("--status", default=None, help="Only services in this state.")
@click.option("--limit", default=100, show_default=True)
@shared
def list_(call: Call, status: str | None, limit: int) -> None:
    """List services, newest first."""
    nothing = "There is no service yet; `penstock service create MODEL --start` makes one."
    call.answer(
        call.client.services(status=status, limit=limit),
        lambda body: table(COLUMNS, rows_of(body, "services"), nothing=nothing),
    )


@service.command()
@click.argument("name")
@shared
def show(call: Call, name: str) -> None:
    """Show a service: state, replicas, measured batch curve, config."""
    call.answer(call.client.service(call.service_id(name)), _draw)


def _draw(body: dict[str, Any]) -> None:
    apart = ("profile", "profiles", "replica_list")
    fields({name: value for name, value in body.items() if name not in apart})
    if profile := body.get("profile"):
        curve = ", ".join(f"{point['rows']}: {point['median_ms']:.2f} ms" for point in profile["curve"])
        fields({"batch size": f"{profile['max_batch']}, chosen on {profile['provider']} from {curve}"})
    if replicas := rows_of(body, "replica_list"):
        print()
        table(REPLICAS, replicas, nothing="")


@service.command()
@click.argument("name")
@shared
def history(call: Call, name: str) -> None:
    """Show every change of a service's state, with its reason."""
    call.answer(
        call.client.service_history(call.service_id(name)),
        lambda body: table(EVENTS, rows_of(body, "events"), nothing="Nothing has happened yet."),
    )


@service.command()
@click.argument("name")
@shared
def scaling(call: Call, name: str) -> None:
    """Show the size a service should have, and what the autoscaler decided."""
    call.answer(call.client.service_scaling(call.service_id(name)), _draw_scaling)


def _draw_scaling(body: dict[str, Any]) -> None:
    fields({name: value for name, value in body.items() if name not in ("decisions", "limits")})
    print()
    rows = [{**row, "from": _size(row.get("from")), "to": _size(row.get("to"))} for row in rows_of(body, "decisions")]
    table(DECISIONS, rows, nothing="Nothing was decided yet.")


def _size(size: Any) -> str:
    """Replicas x instances of each."""
    return f"{size.get('replicas')}x{size.get('instances')}" if isinstance(size, dict) else ""


def _mover(verb: str, text: str) -> None:
    @service.command(verb, help=text)
    @click.argument("name")
    @click.option("--wait", "is_waited", is_flag=True, help="Return when it is done, not when it is accepted.")
    @shared
    def move(call: Call, name: str, is_waited: bool) -> None:
        service_id = call.service_id(name)
        body = call.client.move_service(service_id, verb)
        if is_waited:
            wait = wait_until_stopped if verb == "stop" else wait_until_running
            body = wait(call, service_id)
        call.answer(body, _draw)


_mover("start", "Start a service.")
_mover("stop", "Stop a service; running batches are finished, waiting jobs are kept.")


@service.command()
@click.argument("name")
@shared
def restart(call: Call, name: str) -> None:
    """Renew a service's replicas one by one; it keeps running."""
    call.answer(call.client.move_service(call.service_id(name), "restart"))


@service.command()
@click.argument("name")
@click.argument("replicas", type=click.IntRange(min=0))
@click.option("--instances", type=click.IntRange(min=1), default=None, help="Engine processes of each replica.")
@shared
def scale(call: Call, name: str, replicas: int, instances: int | None) -> None:
    """Set the number of replicas."""
    body = {"replicas": replicas} if instances is None else {"replicas": replicas, "instances": instances}
    call.answer(call.client.scale_service(call.service_id(name), body))


@service.command()
@click.argument("name")
@click.option("--config", default=None, help="The fields to change, a JSON object: inline, a file, or - for stdin.")
@click.option("--model", default=None, help="Another version of its model: an id, name@version, or a name.")
@shared
def update(call: Call, name: str, config: str | None, model: str | None) -> None:
    """Change a service's config, or the version of its model; its replicas are renewed while it runs."""
    changes: dict[str, Any] = {} if config is None else {"config": read_object(config, option="--config")}
    if model is not None:
        changes["model_id"] = call.model_id(model)
    if not changes:
        raise click.UsageError("Name what to change: --config, or --model.")
    call.answer(call.client.update_service(call.service_id(name), changes), _draw)


@service.command()
@click.argument("name")
@shared
def delete(call: Call, name: str) -> None:
    """Delete a stopped service with its jobs."""
    service_id = call.service_id(name)
    call.client.delete_service(service_id)
    call.answer({"service_id": service_id, "deleted": True})


def wait_until_running(call: Call, service_id: str, *, limit_s: float = 180.0) -> dict[str, Any]:
    """The service once it runs. Says what it waits for; raises CallFailed with the reason when it cannot, or not in
    time."""
    say("Waiting until the service runs ...")
    told: set[str] = set()

    def is_there(body: dict[str, Any]) -> bool:
        if body.get("status") == "error":
            action = body.get("suggested_action")
            raise CallFailed(
                f"The service did not start: {body.get('reason') or 'no reason was given'}.",
                code="service_error",
                details={"suggested_action": action} if action else {},
            )
        hint = f"{body.get('reason')} {body.get('suggested_action')}"
        if body.get("suggested_action") and hint not in told:
            told.add(hint)
            say(hint)
        return body.get("status") == "running" and bool(body.get("replicas_ready", 1))

    return _wait(call, service_id, is_there, limit_s)


def wait_until_stopped(call: Call, service_id: str, *, limit_s: float = 60.0) -> dict[str, Any]:
    """The service once it is stopped. Raises CallFailed when that takes too long."""
    say("Waiting until the service has stopped ...")
    return _wait(call, service_id, lambda body: body.get("status") == "stopped", limit_s)


def _wait(call: Call, service_id: str, is_there: Callable[[dict[str, Any]], bool], limit_s: float) -> dict[str, Any]:
    until = time.monotonic() + limit_s
    while True:
        body = call.client.service(service_id)
        if is_there(body):
            return body
        if time.monotonic() > until:
            raise CallFailed(
                f"The service is still {body.get('status')} after {limit_s:.0f} s.",
                code="timed_out",
                details={"service_id": service_id, "reason": body.get("reason")},
            )
        time.sleep(0.1)
