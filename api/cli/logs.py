"""`penstock logs`: what was logged, by whom and when; as it comes, or summed up."""

import json
import re
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click

from api.cli.asking import Call, shared
from api.cli.output import fields, rows_of, table
from inference import clock

LEVELS = ("debug", "info", "warning", "error", "critical")
COLOURS = {"warning": "yellow", "error": "red", "critical": "red"}
GROUPS = {"level": "LEVEL", "count": "COUNT", "is_new": "NEW", "last_at": "LAST", "message": "MESSAGE"}
TOP = {"event": "EVENT", "count": "COUNT"}
UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
OWN = ("id", "timestamp", "level", "event", "service_id", "role", "pid", "node_id", "replica_id")


def moment(_context: click.Context, parameter: click.Parameter, text: str | None) -> str | None:
    """An option that names a time: ISO 8601, or how long ago, such as 15m, 2h or 7d."""
    if text is None:
        return None
    if found := re.fullmatch(r"(\d{1,9})([smhd])", text):
        return clock.iso(time.time() - int(found[1]) * UNITS[found[2]])
    try:
        return clock.iso(clock.from_iso(text))
    except (ValueError, OverflowError) as error:
        raise click.BadParameter("give an ISO 8601 time, or how long ago, such as 15m, 2h or 7d.") from error


@click.command()
@click.argument("service", required=False)
@click.option("--level", type=click.Choice(LEVELS), default=None, help="This level and all graver ones.")
@click.option("--keyword", default=None, help="Words that entries must have; the last letters may be left out.")
@click.option("--task", "task_id", default=None, help="Only of this task.")
@click.option("--from", "from_", callback=moment, default=None, help="Not before: a time, or 15m, 2h, 7d ago.")
@click.option("--to", callback=moment, default=None, help="Before: a time, or 15m, 2h, 7d ago.")
@click.option("--limit", default=100, show_default=True)
@click.option("--cursor", default=None, help="`next` of the page before.")
@click.option("--follow", "-f", is_flag=True, help="Print what comes, until Ctrl-C.")
@click.option("--analyse", is_flag=True, help="Rates, groups of trouble, and what the last deployment changed.")
@click.option("--export", type=click.Path(dir_okay=False, path_type=Path), help="Write all to a .jsonl or .csv file.")
@shared
def logs(
    call: Call, service: str | None, follow: bool, analyse: bool, export: Path | None, limit: int, **said: Any
) -> None:
    """Show what was logged of a service, or of the whole system, oldest first.

    SERVICE is an id or a name. With --json and --follow each line is an entry."""
    if follow + analyse + (export is not None) > 1:
        raise click.UsageError("Choose one of --follow, --analyse and --export.")
    service_id = call.service_id(service) if service is not None else None
    cursor = said.pop("cursor")
    said["from"] = said.pop("from_")
    if follow:
        wanted = {name: said[name] for name in ("level", "keyword", "task_id")}
        for entry in _entries(call.client.tail_logs(service_id, **wanted)):
            click.echo(json.dumps(entry, ensure_ascii=False) if call.is_json else _line(entry))
    elif analyse:
        said.pop("task_id")
        call.answer(call.client.analyse_logs(service_id, **said), _draw_analysis)
    elif export is not None:
        call.answer(_export(call.client.export_logs(service_id, format=_format(export), **said), export))
    else:
        call.answer(call.client.logs(service_id, limit=limit, cursor=cursor, **said), _draw)


def _draw(body: dict[str, Any]) -> None:
    rows = rows_of(body, "logs")
    for entry in reversed(rows):
        click.echo(_line(entry))
    if not rows:
        click.echo("Nothing was logged there.")
    if following := body.get("next"):
        click.echo(f"There are older ones: --cursor {following}", err=True)


def _line(entry: dict[str, Any]) -> str:
    level = str(entry.get("level", ""))
    rest = " ".join(f"{name}={_plain(value)}" for name, value in entry.items() if name not in OWN)
    shown = click.style(f"{level:8}", fg=COLOURS.get(level))
    return f"{entry.get('timestamp', '')} {shown} {entry.get('role', ''):8} {entry.get('event', '')} {rest}".rstrip()


def _plain(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if re.fullmatch(r"\S+", text) else json.dumps(text, ensure_ascii=False)


def _entries(pieces: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    """The entries among the events of a stream. Raises a failure for its last one, when that says why it ended."""
    event = ""
    for piece in pieces:
        for line in piece.decode("utf-8", "replace").splitlines():
            name, _, value = line.partition(": ")
            if name == "event":
                event = value
            elif name == "data":
                content = json.loads(value)
                if event == "error":
                    raise click.ClickException(str(content.get("message", value)))
                yield content


def _draw_analysis(body: dict[str, Any]) -> None:
    fields({"from": body["from"], "to": body["to"], **body["counts"]})
    click.echo()
    table(GROUPS, rows_of(body, "groups"), nothing="No warning and no error.")
    click.echo()
    table(TOP, rows_of(body, "top_events"), nothing="Nothing was logged there.")
    if change := body.get("deployment"):
        before, after = (_rates(change[side]["per_hour"]) for side in ("before", "after"))
        click.echo(f"\nSince {change['at']}, entries an hour: {before} -> {after}")
        table(GROUPS, rows_of(change, "appeared"), nothing="No trouble that was not there before.")


def _rates(by_level: dict[str, float]) -> str:
    return ", ".join(f"{rate:g} {level}" for level, rate in by_level.items()) or "none"


def _format(path: Path) -> str:
    return "csv" if path.suffix == ".csv" else "jsonl"


def _export(pieces: Iterable[bytes], path: Path) -> dict[str, Any]:
    size = 0
    with path.open("wb") as file:
        for piece in pieces:
            size += file.write(piece)
    return {"file": str(path), "bytes": size}
