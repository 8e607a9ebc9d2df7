"""A task as its owner sees it: one pure function, used by Flask and by the live process."""

import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import orjson

from api import query
from inference.errors import InvalidField
from inference.jobs import progress
from inference.jobs.model import JobView, Standing
from inference.jobs.progress import Progress
from inference.jobs.shown import fields

_SECONDS = re.compile("[0-9]+([.][0-9]+)?([eE][+-]?[0-9]+)?")
"""A number of JSON that is not negative; Python's float would also read `nan`, `inf` and `1_0`."""


def render(
    view: JobView, standing: Standing, cost: dict[str, Any] | None = None, report: Progress | None = None
) -> bytes:
    """The body of `GET /tasks/{id}`. The result is spliced in as the JSON text that was stored.

    `cost`: as `costs.shown_of_job` shows it, where it was asked for. `report`: what its engine said last, if it runs.
    """
    eta_s = None if standing.eta_s is None else round(standing.eta_s, 3)
    more: dict[str, Any] = {"queue_position": standing.position, "eta_s": eta_s}
    if cost is not None:
        more["cost"] = cost
    if report is not None:
        more["progress"] = progress.fields(report)
    return orjson.dumps(fields(view, with_result=True) | more)


def render_page(views: Sequence[JobView], following: str | None) -> bytes:
    """`{tasks, next?}`, without results."""
    page: dict[str, Any] = {"tasks": [fields(view, with_result=False) for view in views]}
    if following is not None:
        page["next"] = following
    return orjson.dumps(page)


class Asked(NamedTuple):
    """`wait_s`: at most the limit. `with_cost`: whether to work out what the task cost, which reads its attempts."""

    wait_s: float
    with_cost: bool


def asked(pairs: Iterable[tuple[str, str]], *, limit_s: float) -> Asked:
    """What the query asks for; more seconds than the limit count as the limit.

    Raises InvalidField, UnknownField.
    """
    said = query.read(pairs, ("wait", "cost"))
    text, cost = said.get("wait", "0"), said.get("cost", "false")
    if cost not in ("true", "false"):
        raise InvalidField("The query parameter `cost` must be true or false.", field="cost")
    if not _SECONDS.fullmatch(text):
        raise InvalidField(f"The query parameter `wait` must be seconds, 0 to {limit_s:g}.", field="wait")
    return Asked(min(float(text), limit_s), cost == "true")
