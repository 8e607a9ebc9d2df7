"""The options that every command of the API shares, and how its failures are told."""

import functools
import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from api.cli import output, target
from api.cli.failure import CallFailed

if TYPE_CHECKING:
    from api.cli.client import Client

HINTS = {
    "unauthenticated": "Give a key in PENSTOCK_API_KEY; `penstock key create` on the server's machine makes one.",
    "key_not_found": "`penstock key list` shows what there is.",
    "alert_rule_not_found": "`penstock alert rules` shows what there is.",
    "report_not_found": "`penstock report list` shows what there is.",
    "report_schedule_not_found": "`penstock report schedules` shows what there is.",
    "pdf_unavailable": "`penstock report create --format html` needs nothing more.",
    "silence_not_found": "`penstock alert silences` shows what there is.",
    "budget_not_found": "`penstock budget list` shows what there is.",
    "budget_exhausted": "`penstock budget list` shows what is spent, and until when.",
    "tenant_not_found": "`penstock tenant list` shows what there is.",
    "service_not_found": "`penstock service list` shows what there is.",
    "job_not_found": "`penstock job list` shows what there is; finished jobs are kept for 7 days.",
    "model_not_found": "`penstock model list` shows what there is.",
    "wrong_state": "`penstock service show ID` shows its state and the reason for it.",
    "version_exists": "A registered version never changes; register the next version number.",
    "in_use": "`penstock service list` shows what uses it; delete that first.",
    "store_unavailable": "`penstock doctor` tells which part is ill.",
    "hot_unavailable": "`penstock doctor` tells which part is ill.",
    "no_room": "Free disk space in the data folder, or delete models and services.",
}


class Told(click.ClickException):
    """A failed call, as the person or the program reads it. Exit code 1."""

    exit_code = 1

    def __init__(self, failure: CallFailed, *, is_json: bool) -> None:
        super().__init__(failure.message)
        self.failure = failure
        self.is_json = is_json

    def show(self, file: Any = None) -> None:
        failure = self.failure
        if self.is_json:
            body = {"code": failure.code, "message": failure.message, "details": failure.details}
            click.echo(json.dumps(body, ensure_ascii=False))
        click.secho(f"{failure.message} ({failure.code})", fg="red", err=True)
        for name, value in failure.details.items():
            for one in value if isinstance(value, list) else [value]:
                text = ", ".join(map(str, one.values())) if isinstance(one, dict) else str(one)
                if text not in failure.message:
                    click.echo(f"  {name}: {text}", err=True)
        if hint := HINTS.get(failure.code):
            click.echo(hint, err=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One invocation: whom it asks, and how it answers."""

    client: "Client"
    is_json: bool

    def answer(self, body: Any, show: Callable[[Any], None] = output.fields) -> None:
        output.answer(body, is_json=self.is_json, show=show)

    def service_id(self, name: str) -> str:
        """The id of a service given by id or by name."""
        return self._find(name, self.client.services, "services", "service_id", "service_not_found")

    def model_id(self, name: str) -> str:
        """The id of a model given by id, as name@version, or by name (the newest registered)."""
        plain, _, version = name.partition("@")
        return self._find(plain, self.client.models, "models", "model_id", "model_not_found", version=version)

    def _find(
        self, name: str, listing: Callable[..., dict[str, Any]], rows: str, key: str, code: str, *, version: str = ""
    ) -> str:
        from inference.ids import is_id

        if is_id(name):
            return name
        for row in output.rows_of(listing(limit=1000), rows):
            if row.get("name") == name and (not version or row.get("version") == version):
                return str(row[key])
        shown = f"{name}@{version}" if version else name
        raise CallFailed(f"There is no {rows.removesuffix('s')} called '{shown}'.", code=code, status=404)


def shared(function: Callable[..., None]) -> Callable[..., None]:
    """Adds --url, --data-dir and --json, opens the client, and tells failures. The function gets a Call first."""

    @click.option("--json", "is_json", is_flag=True, help="Print one JSON object on stdout, nothing else.")
    @click.option("--data-dir", envvar="PENSTOCK_DATA_DIR", help="Find the server by the data folder of its `up`.")
    @click.option("--url", envvar=target.URL_VARIABLE, help="The server, for example http://127.0.0.1:8080.")
    @functools.wraps(function)
    def inner(url: str | None, data_dir: str | None, is_json: bool, **values: Any) -> None:
        from api.cli.client import Client

        transport = (click.get_current_context().find_root().obj or {}).get("transport")
        try:
            folder = target.data_dir_of(data_dir, os.environ)
            address = target.find_url(url, folder)
            key = target.find_key(address, folder, os.environ)
            with Client(address, key=key, transport=transport) as client:
                function(Call(client=client, is_json=is_json), **values)
        except CallFailed as failure:
            raise Told(failure, is_json=is_json) from failure

    return inner


def read_object(text: str, *, option: str) -> dict[str, Any]:
    """A JSON object given inline, as the path of a file, or as `-` for stdin. Raises a usage error."""
    try:
        if text == "-":
            raw = sys.stdin.read()
        elif text.lstrip().startswith("{"):
            raw = text
        else:
            with click.open_file(text.removeprefix("@"), encoding="utf-8") as stream:
                raw = stream.read()
        value = json.loads(raw)
    except OSError as error:
        raise click.BadParameter(f"the file cannot be read: {error}", param_hint=option) from error
    except ValueError as error:
        raise click.BadParameter(f"this is not JSON: {error}", param_hint=option) from error
    if not isinstance(value, dict):
        raise click.BadParameter("a JSON object is needed.", param_hint=option)
    return value
