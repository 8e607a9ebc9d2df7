"""Refuses what a page of another site makes a browser send: it comes with our user's address and rights."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from inference.errors import CrossOrigin

SAFE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})


def refusal(method: str, environ: Mapping[str, Any]) -> CrossOrigin | None:
    """Why this request must not change anything; None for programs, and for pages of our own.

    A browser says with `Sec-Fetch-Site` whether the page was ours, and no page can forge it. Where it does not (plain
    HTTP to another machine), the page's `Origin` must be the `Host` that was asked.
    """
    if method in SAFE:
        return None
    site, origin = environ.get("HTTP_SEC_FETCH_SITE"), environ.get("HTTP_ORIGIN")
    if site in ("same-origin", "none") or (site is None and origin is None):
        return None
    if site is None and origin is not None and _host(origin) == environ.get("HTTP_HOST", "").lower():
        return None
    return CrossOrigin("A page of another site may not change anything here.", origin=str(origin or site)[:200])


def _host(origin: str) -> str | None:
    """The `Host` of the page; None for `null` and for what is no origin."""
    try:
        return urlsplit(origin).netloc.lower() or None
    except ValueError:
        return None
