"""The command line against a server of plain functions: no socket, the real HTTP client."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import click
import httpx
import pytest
from click.testing import CliRunner, Result

from api.cli.main import cli

Answer = tuple[int, Any]


@dataclass
class Server:
    """Answers by (method, path); keeps every request."""

    answers: dict[tuple[str, str], Answer | list[Answer]] = field(default_factory=dict)
    requests: list[httpx.Request] = field(default_factory=list)
    is_away: bool = False

    def __call__(self, request: httpx.Request) -> httpx.Response:
        request.read()
        self.requests.append(request)
        if self.is_away:
            raise httpx.ConnectError("refused", request=request)
        found = self.answers.get((request.method, request.url.path))
        if isinstance(found, list):
            found = found.pop(0) if len(found) > 1 else found[0]
        status, body = found or (404, {"code": "route_not_found", "message": "Nothing is here.", "details": {}})
        if isinstance(body, str):
            return httpx.Response(status, text=body)
        return httpx.Response(status, json=body) if body is not None else httpx.Response(status)

    @property
    def last_body(self) -> Any:
        return json.loads(self.requests[-1].content)


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def penstock(server: Server, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Runs the command with these arguments, against `server`."""
    monkeypatch.delenv("PENSTOCK_URL", raising=False)
    monkeypatch.setenv("PENSTOCK_DATA_DIR", "/nonexistent")

    def run(*arguments: str, stdin: str | None = None) -> Result:
        group: click.Group = cli
        return CliRunner().invoke(group, arguments, input=stdin, obj={"transport": httpx.MockTransport(server)})

    return run
