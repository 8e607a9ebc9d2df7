"""`penstock pool`: what there is, who holds it, and what is free."""

from typing import Any

import click

from api.cli.asking import Call, shared
from api.cli.output import fields, rows_of, table

DEVICES = {
    "node_id": "NODE",
    "device": "DEVICE",
    "total": "GIB",
    "reserved": "RESERVED",
    "allocated": "ALLOCATED",
    "unloading": "UNLOADING",
    "free": "FREE",
    "replicas": "REPLICAS",
    "whole": "WHOLE",
}
NODES = {"node_id": "NODE", "cpus": "CPUS FREE", "memory": "GIB FREE"}
SERVICES = {
    "service_id": "SERVICE",
    "name": "NAME",
    "priority": "PRIORITY",
    "status": "STATUS",
    "replicas": "REPLICAS",
    "devices": "DEVICES",
    "device_gib": "DEVICE GIB",
    "cpus": "CPUS",
    "gib": "GIB",
}
HELD = {
    "replica_id": "REPLICA",
    "node_id": "NODE",
    "device": "DEVICE",
    "lease": "LEASE",
    "device_gib": "DEVICE GIB",
    "cpus": "CPUS",
    "gib": "GIB",
    "waits": "WAITS FOR",
}
GIB = 1 << 30


@click.command()
@click.argument("service_id", metavar="[SERVICE_ID]", required=False)
@shared
def pool(call: Call, service_id: str | None) -> None:
    """Show what nodes and devices have left, and what each service holds; or one service, by replica."""
    if service_id is None:
        call.answer(call.client.pool(), _draw)
    else:
        call.answer(call.client.service_usage(service_id), _draw_service)


def _draw(body: dict[str, Any]) -> None:
    devices = [
        {**row, **{name: _gib(value) for name, value in row["memory_bytes"].items()}, "whole": row["is_whole"]}
        for row in rows_of(body, "devices")
    ]
    table(DEVICES, devices, nothing="No node has a device.")
    click.echo()
    nodes = [
        {"node_id": row["node_id"], "cpus": _of(row["cpus"], 1), "memory": _of(row["memory_bytes"], GIB)}
        for row in rows_of(body, "nodes")
    ]
    table(NODES, nodes, nothing="No node is alive.")
    click.echo()
    table(SERVICES, [_sizes(row) for row in rows_of(body, "services")], nothing="No service runs.")


def _draw_service(body: dict[str, Any]) -> None:
    fields({name: value for name, value in body.items() if name != "replica_list"})
    click.echo()
    rows = [{**_sizes(row), "waits": ", ".join(row["waits_for"])} for row in rows_of(body, "replica_list")]
    table(HELD, rows, nothing="It holds nothing.")


def _sizes(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "device_gib": _gib(row["device_memory_bytes"]), "gib": _gib(row["memory_bytes"])}


def _of(part: dict[str, float], unit: int) -> str:
    return f"{part['free'] / unit:.4g} of {part['total'] / unit:.4g}"


def _gib(size: float) -> str:
    return f"{size / GIB:.4g}"
