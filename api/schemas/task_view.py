"""A task as its owner sees it: one pure function, used by Flask and by the live process."""

import re
from collections.abc import Iterable
from typing import Any

import orjson

from api import query
from inference.errors import InvalidField
from inference.jobs.model import JobView, Standing
from inference.jobs.shown import fields

_SECONDS = re.compile("[0-9]+([.][0-9]+)?([eE][+-]?[0-9]+)?")
"""A number of JSON that is not negative; Python's float would also read `nan`, `inf` and `1_0`."""


def render(view: JobView, standing: Standing) -> bytes:
    """The body of `GET /tasks/{id}`. The result is spliced in as the JSON text that was stored."""
    eta_s = None if standing.eta_s is None else round(standing.eta_s, 3)
    queue = {"queue_position": standing.position, "eta_s": eta_s}
    return orjson.dumps(fields(view, with_result=True) | queue)


def render_page(views: list[JobView], following: str | None) -> bytes:
    """`{tasks, next?}`, without results."""
    page: dict[str, Any] = {"tasks": [fields(view, with_result=False) for view in views]}
    if following is not None:
        page["next"] = following
    return orjson.dumps(page)


def wait_s(pairs: Iterable[tuple[str, str]], *, limit_s: float) -> float:
    """The seconds that the query asks to wait; more than the limit counts as the limit.

    Raises InvalidField, UnknownField.
    """
    text = query.read(pairs, ("wait",)).get("wait", "0")
    if not _SECONDS.fullmatch(text):
        raise InvalidField(f"The query parameter `wait` must be seconds, 0 to {limit_s:g}.", field="wait")
    return min(float(text), limit_s)
