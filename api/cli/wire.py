"""Bodies as the command line sends and reads them."""

from collections.abc import Iterable, Iterator
from typing import Any

import httpx

from api.cli.failure import CallFailed

Json = dict[str, Any]


def refusal(response: httpx.Response, url: str) -> CallFailed:
    """What an answer of 400 and above says, as the command tells it."""
    try:
        body = response.json()
    except ValueError:
        body = None
    if not isinstance(body, dict) or "message" not in body:
        return CallFailed(
            f"{url} answered {response.status_code} with a text that is not Penstock's; is --url right?",
            code="not_penstock",
            status=response.status_code,
        )
    details = body.get("details")
    return CallFailed(
        str(body["message"]),
        code=str(body.get("code", "unknown")),
        status=response.status_code,
        details=details if isinstance(details, dict) else {},
    )


def body_of(response: httpx.Response, url: str) -> Json:
    """The object of an answer; empty for one without a body. Raises CallFailed."""
    if not response.content:
        return {}
    try:
        body = response.json()
    except ValueError as error:
        raise CallFailed(f"{url} answered a text that is not JSON; is --url right?", code="not_penstock") from error
    return body if isinstance(body, dict) else {"items": body}


def whole(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Lines gathered to 64 KB each write; blank ones left out."""
    gathered = bytearray()
    for line in lines:
        if stripped := line.strip():
            gathered += stripped + b"\n"
        if len(gathered) >= 65_536:
            yield bytes(gathered)
            gathered.clear()
    if gathered:
        yield bytes(gathered)
