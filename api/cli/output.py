"""How a command answers: one JSON object for programs, coloured tables for people, logs on stderr."""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

COLOURS = {
    "completed": "green", "running": "green", "ready": "green", "registered": "green", "ok": "green", "right": "green",
    "pending": "yellow", "deploying": "yellow", "stopping": "yellow", "warn": "yellow", "deprecated": "yellow",
    "starting": "yellow", "draining": "yellow", "expired": "yellow", "cancelled": "yellow", "preempted": "yellow",
    "failed": "red", "dead": "red", "error": "red", "fail": "red", "wrong": "red", "lost": "red", "gone": "yellow",
}  # fmt: skip


def console(*, to_stderr: bool = False) -> "Console":
    """A console that colours terminals only, and does not cut tables that go into a pipe."""
    from rich.console import Console

    stream = sys.stderr if to_stderr else sys.stdout
    return Console(file=stream, width=None if stream.isatty() else 160, highlight=False)


def say(text: str) -> None:
    """A line of progress, on stderr."""
    click.echo(text, err=True)


def answer(body: Any, *, is_json: bool, show: Callable[[Any], None]) -> None:
    """Prints `body` as one JSON object, or lets `show` draw it."""
    if is_json:
        click.echo(json.dumps(body, ensure_ascii=False))
    else:
        show(body)


def table(columns: Mapping[str, str], rows: Sequence[Mapping[str, Any]], *, nothing: str) -> None:
    """Draws rows; `columns` maps a field to its heading."""
    from rich.table import Table

    if not rows:
        click.echo(nothing)
        return
    drawn = Table(box=None, pad_edge=False, header_style="bold")
    for heading in columns.values():
        drawn.add_column(heading, overflow="fold", no_wrap=heading == "ID")
    for row in rows:
        drawn.add_row(*(cell(row.get(field)) for field in columns))
    _draw(drawn)


def fields(body: Mapping[str, Any]) -> None:
    """Draws one object, a field a line; nested values as JSON, empty ones left out."""
    from rich.table import Table

    drawn = Table(box=None, show_header=False, pad_edge=False)
    drawn.add_column(style="bold", no_wrap=True)
    drawn.add_column(overflow="fold")
    for name, value in body.items():
        if value not in (None, "", [], {}):
            drawn.add_row(name, cell(value))
    _draw(drawn)


def _draw(drawn: "Table") -> None:
    """Into a pipe without the blanks that pad the last column."""
    screen = console()
    if screen.is_terminal:
        screen.print(drawn)
        return
    with screen.capture() as captured:
        screen.print(drawn)
    click.echo("\n".join(line.rstrip() for line in captured.get().splitlines()))


def cell(value: Any) -> str:
    """A value as rich markup: states coloured, numbers short, everything else as it is."""
    from rich.markup import escape

    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict | list):
        return escape(json.dumps(value, ensure_ascii=False))
    text = str(value)
    colour = COLOURS.get(text)
    return f"[{colour}]{text}[/]" if colour else escape(text)


def rows_of(body: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """The list in a page of the API."""
    listed = body.get(name, [])
    return [row for row in listed if isinstance(row, dict)] if isinstance(listed, list) else []
