"""`penstock upload` and `penstock uploads`: files for models and large inputs."""

from pathlib import Path
from typing import IO

import click

from api.cli.asking import Call, shared
from api.cli.output import fields, rows_of, say, table

COLUMNS = {
    "upload_id": "ID",
    "size_bytes": "BYTES",
    "created_at": "SENT",
    "expires_at": "GOES",
}


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--expires-in", type=click.IntRange(1), default=None, help="Seconds; the server's default without it.")
@shared
def upload(call: Call, file: Path, expires_in: int | None) -> None:
    """Send FILE to the server, which checks that it arrived whole.

    `upload:ID` then names it: the input_ref of a task, or a model_path.
    """
    call.answer(call.client.upload(file, expires_in_s=expires_in), fields)


@click.group()
def uploads() -> None:
    """What was sent, and lives for a while."""


@uploads.command("list")
@click.option("--limit", default=100, show_default=True)
@shared
def list_(call: Call, limit: int) -> None:
    """List uploads, newest first."""
    call.answer(
        call.client.uploads(limit=limit),
        lambda body: table(COLUMNS, rows_of(body, "uploads"), nothing="Nothing was uploaded."),
    )


@uploads.command()
@click.argument("upload_id")
@shared
def show(call: Call, upload_id: str) -> None:
    """Show an upload."""
    call.answer(call.client.uploads(upload_id), fields)


@uploads.command()
@click.argument("upload_id")
@click.option("--output", "-o", type=click.File("wb", lazy=True), default="-", help="A file; stdout by default.")
@shared
def get(call: Call, upload_id: str, output: IO[bytes]) -> None:
    """Write the file of an upload."""
    for piece in call.client.upload_content(upload_id):
        output.write(piece)
    output.flush()


@uploads.command()
@click.argument("upload_id")
@shared
def delete(call: Call, upload_id: str) -> None:
    """Delete an upload; what was made of it stays."""
    call.answer(call.client.delete_upload(upload_id), lambda _: say(f"Deleted {upload_id}."))
