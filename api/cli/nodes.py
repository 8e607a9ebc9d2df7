"""`penstock gpus` and `penstock nodes`: what the hosts have, and how busy it is."""

import time
from pathlib import Path
from typing import Any

import click

from api.cli.asking import Call, shared
from api.cli.output import fields, rows_of, say, table

DEVICES = {
    "node_id": "NODE",
    "index": "NO",
    "uuid": "UUID",
    "name": "NAME",
    "state": "STATE",
    "source": "SOURCE",
    "memory_used_mb": "USED MB",
    "memory_leased_mb": "LEASED",
    "memory_total_mb": "OF MB",
    "utilisation_percent": "BUSY %",
    "temperature_c": "C",
    "power_w": "W",
    "on_it": "SERVICES",
}
NODES = {
    "node_id": "NODE",
    "host": "HOST",
    "alive": "ALIVE",
    "cpus": "CPUS",
    "cpu_percent": "CPU %",
    "memory_percent": "MEMORY %",
    "devices": "DEVICES",
    "replicas": "REPLICAS",
    "heartbeat_at": "HEARD",
}
REPLICAS = {
    "replica_id": "REPLICA",
    "service_id": "SERVICE",
    "status": "STATUS",
    "device": "DEVICE",
    "cpu_percent": "CPU %",
    "rss_mb": "MB",
}
NO_DEVICE = "No node has a device: CPU engines need none. docs/resources.md says where devices come from."


@click.command()
@click.option("--node", "node_id", default=None, help="Only of this node.")
@click.option("--state", type=click.Choice(["ok", "lost", "gone"]), default=None, help="Only in this state.")
@click.option("--limit", default=1000, show_default=True)
@click.option("--cursor", default=None, help="`next` of the page before.")
@click.option("--record", type=click.Path(dir_okay=False, path_type=Path), help="Record this host's cards to a file.")
@click.option("--for", "for_s", type=click.FloatRange(min=0), default=60.0, help="Seconds to record.")
@click.option("--every", "every_s", type=click.FloatRange(min=0.1), default=1.0, help="Seconds between readings.")
@shared
def gpus(call: Call, record: Path | None, for_s: float, every_s: float, **filters: Any) -> None:
    """List the devices of all nodes.

    With --record FILE it asks the driver of this host instead of a server, and writes what it says, a line a reading;
    PENSTOCK_RESOURCES__REPLAY=FILE plays that on a host without a card."""
    if record is None:
        is_narrow = filters["node_id"] is not None or filters["state"] is not None
        nothing = "No device is so; `penstock gpus` lists all." if is_narrow else NO_DEVICE
        call.answer(call.client.gpus(**filters), lambda body: _draw_devices(body, nothing))
        return
    call.answer(_record(record, for_s=for_s, every_s=every_s))


def _draw_devices(body: dict[str, Any], nothing: str = NO_DEVICE) -> None:
    rows = [{**row, "on_it": ", ".join(one["service_id"] for one in row["services"])} for row in rows_of(body, "gpus")]
    table(DEVICES, rows, nothing=nothing)
    _tell_next(body)


def _tell_next(body: dict[str, Any]) -> None:
    if following := body.get("next"):
        click.echo(f"There are more: --cursor {following}", err=True)


def _record(path: Path, *, for_s: float, every_s: float) -> dict[str, Any]:
    """What was written. Ends early, and keeps what it has, at Ctrl-C."""
    from inference.resources import probe_replay
    from inference.resources.probe_nvml import NvmlProbe

    probe = NvmlProbe()
    first = probe.read()
    if not first.devices:
        raise click.ClickException("NVML shows no card here (no driver, or no library): there is nothing to record.")
    say(f"Recording {len(first.devices)} devices for {for_s:g} s; Ctrl-C ends it sooner.")
    count, ends_s = 0, time.monotonic() + for_s
    note = "recorded by `penstock gpus --record`"
    with path.open("w") as file:
        file.write(probe_replay.header(source=first.source, note=note) + "\n")
        try:
            reading = first
            while True:
                file.write(probe_replay.line(reading, began_at=first.at) + "\n")
                count += 1
                if time.monotonic() + every_s > ends_s:
                    break
                time.sleep(every_s)
                reading = probe.read()
        except KeyboardInterrupt:
            say("Stopped.")
    probe.close()
    return {"file": str(path), "readings": count, "devices": len(first.devices)}


@click.command()
@click.argument("node_id", required=False)
@click.option("--limit", default=1000, show_default=True)
@click.option("--cursor", default=None, help="`next` of the page before.")
@shared
def nodes(call: Call, node_id: str | None, **page: Any) -> None:
    """List the nodes, or show one with its devices and replicas."""
    if node_id is None:
        call.answer(call.client.nodes(**page), _draw_nodes)
    else:
        call.answer(call.client.node(node_id), _draw_node)


def _draw_nodes(body: dict[str, Any]) -> None:
    rows = [{**row, "alive": bool(row.get("is_alive"))} for row in rows_of(body, "nodes")]
    table(NODES, rows, nothing="No node has been heard yet; `penstock up` has one, `penstock node` starts one alone.")
    _tell_next(body)


def _draw_node(body: dict[str, Any]) -> None:
    fields({name: value for name, value in body.items() if name not in ("gpus", "replica_list")})
    click.echo()
    _draw_devices(body)
    click.echo()
    replicas = [_with_usage(row) for row in rows_of(body, "replica_list")]
    table(REPLICAS, replicas, nothing="Nothing runs on it.")


def _with_usage(row: dict[str, Any]) -> dict[str, Any]:
    used = row.get("usage") or {}
    rss = used.get("rss_bytes")
    return {**row, "cpu_percent": used.get("cpu_percent"), "rss_mb": None if rss is None else rss >> 20}
