"""`penstock model`: the registry."""

from pathlib import Path
from typing import Any

import click

from api.cli.asking import Call, read_object, shared
from api.cli.output import rows_of, say, table

COLUMNS = {
    "model_id": "ID",
    "name": "NAME",
    "version": "VERSION",
    "framework": "FRAMEWORK",
    "status": "STATUS",
    "size_bytes": "BYTES",
    "created_at": "REGISTERED",
}


@click.group()
def model() -> None:
    """Register and list model versions."""


@model.command()
@click.argument("path")
@click.option("--name", required=True, help="The model's name.")
@click.option("--version", required=True, help="Its version, for example 1.0.0.")
@click.option("--framework", default="onnx", show_default=True, help="The framework that reads the file.")
@click.option("--metadata", default=None, help="JSON object: inline, a file, or - for stdin.")
@click.option("--accuracy", default=None, help="Accuracy figures, a JSON object as above.")
@click.option("--deployment", default=None, help="deployment_config (hooks, engine), a JSON object as above.")
@click.option("--allow-code", is_flag=True, help="Accept a file that runs code when it is loaded; admins only.")
@click.option("--upload", "is_uploaded", is_flag=True, help="Send the file; needed when the server is elsewhere.")
@shared
def register(call: Call, path: str, is_uploaded: bool, **fields: Any) -> None:
    """Register the model file PATH (a file:// URL or upload:ID will do as well)."""
    if is_uploaded:
        say(f"Sending {path} ...")
        path = f"upload:{call.client.upload(_existing(path))['upload_id']}"
    elif "://" not in path and not path.startswith("upload:"):
        path = str(_existing(path).absolute())
    body: dict[str, Any] = {
        "name": fields["name"],
        "version": fields["version"],
        "framework": fields["framework"],
        "model_path": path,
    }
    for option, field in (
        ("metadata", "metadata"),
        ("accuracy", "accuracy_metrics"),
        ("deployment", "deployment_config"),
    ):
        if fields[option] is not None:
            body[field] = read_object(fields[option], option=f"--{option}")
    if fields["allow_code"]:
        body["allow_code"] = True
    call.answer(call.client.register_model(body))


@model.command("list")
@click.option("--name", default=None, help="Only versions of this model.")
@click.option("--limit", default=100, show_default=True)
@shared
def list_(call: Call, name: str | None, limit: int) -> None:
    """List model versions, newest first."""
    nothing = "No model is registered yet; `penstock model register FILE --name N --version 1.0.0` adds one."
    call.answer(
        call.client.models(name=name, limit=limit),
        lambda body: table(COLUMNS, rows_of(body, "models"), nothing=nothing),
    )


@model.command()
@click.argument("name")
@shared
def show(call: Call, name: str) -> None:
    """Show one version: NAME is an id, name@version, or a name (its newest)."""
    call.answer(call.client.model(call.model_id(name)))


@model.command()
@click.argument("name")
@shared
def deprecate(call: Call, name: str) -> None:
    """Mark a version as not to be used for new services."""
    call.answer(call.client.deprecate_model(call.model_id(name)))


@model.command()
@click.argument("name")
@shared
def delete(call: Call, name: str) -> None:
    """Delete a version that no service uses."""
    model_id = call.model_id(name)
    call.client.delete_model(model_id)
    call.answer({"model_id": model_id, "deleted": True})


@model.command()
@click.argument("path")
@shared
def upload(call: Call, path: str) -> None:
    """Send a file to the server; `upload:ID` then names it in `register`."""
    call.answer(call.client.upload(_existing(path)))


def _existing(path: str) -> Path:
    if not Path(path).is_file():
        raise click.BadParameter(f"there is no file {path} here.", param_hint="PATH")
    return Path(path)
