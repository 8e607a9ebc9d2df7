"""The options that the commands of keys and tenants share: by the database, or with --url over HTTP."""

import functools
import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from api.cli import output, target
from api.cli.asking import Call, Told
from api.cli.failure import CallFailed

if TYPE_CHECKING:
    from api.cli.client import Client
    from api.cli.direct import Direct


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessCall:
    """One invocation: whom it asks (both have the same calls), and how it answers."""

    asked: "Client | Direct"
    is_json: bool
    tenant_id: str | None = None

    def only_by_database(self) -> None:
        """Over HTTP the keys of the caller's own tenant are found, and no others. Raises a usage error."""
        from api.cli.client import Client

        if self.tenant_id is not None and isinstance(self.asked, Client):
            raise click.UsageError("--tenant and --url do not go together here: a key finds its own tenant's keys.")

    def answer(self, body: Any, show: Callable[[Any], None] = output.fields) -> None:
        output.answer(body, is_json=self.is_json, show=show)

    def is_open(self) -> bool:
        """Whether the system asks nobody for a key as yet."""
        from api.cli.direct import Direct

        return self.asked.is_open() if isinstance(self.asked, Direct) else self.asked.me()["key_id"] is None

    def service_id(self, name: str) -> str:
        from api.cli.direct import Direct

        if isinstance(self.asked, Direct):
            return self.asked.service_id(name)
        return Call(client=self.asked, is_json=self.is_json).service_id(name)


def shared(function: Callable[..., None]) -> Callable[..., None]:
    """Adds --url, --data-dir, --tenant and --json, opens database or client, and tells failures."""

    @click.option("--json", "is_json", is_flag=True, help="Print one JSON object on stdout, nothing else.")
    @click.option("--data-dir", envvar="PENSTOCK_DATA_DIR", help="The data folder of the system.")
    @click.option("--url", envvar=target.URL_VARIABLE, help="Ask this server, with the key in PENSTOCK_API_KEY.")
    @functools.wraps(function)
    def inner(
        url: str | None, data_dir: str | None, is_json: bool, of_tenant: str | None = None, **values: Any
    ) -> None:
        context = click.get_current_context()
        try:
            with ExitStack() as stack:
                folder = target.data_dir_of(data_dir, os.environ)
                if url:
                    from api.cli.client import Client

                    address = target.find_url(url, folder)
                    key = target.find_key(address, folder, os.environ)
                    transport = (context.find_root().obj or {}).get("transport")
                    found: Client | Direct = stack.enter_context(Client(address, key=key, transport=transport))
                else:
                    from api.cli.direct import opened

                    environ = {**os.environ, "PENSTOCK_DATA_DIR": str(folder)}
                    found = stack.enter_context(opened(environ, tenant_id=of_tenant, operation=context.command_path))
                function(AccessCall(asked=found, is_json=is_json, tenant_id=of_tenant), **values)
        except CallFailed as failure:
            raise Told(failure, is_json=is_json) from failure

    return inner


def seconds(text: str, *, option: str) -> float:
    """Of a duration as people write it: 90d, 12h, 30m, 45s, or plain seconds. Raises a usage error."""
    units = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
    number, unit = (text[:-1], text[-1]) if text[-1:] in units else (text, "s")
    if not number.isdecimal():
        raise click.BadParameter("write 90d, 12h, 30m, 45s or seconds.", param_hint=option)
    return float(int(number) * units[unit])
