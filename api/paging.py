"""Lists by cursor: newest first, `next` while there is more."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from inference.errors import InvalidField
from inference.ids import is_id

T = TypeVar("T")

DEFAULT_LIMIT = 100
MAX_LIMIT = 1000


def before(cursor: str | None) -> str | None:
    """The id that a cursor stands for. Raises InvalidField for a text that `next` never was."""
    if cursor is not None and not is_id(cursor):
        raise InvalidField("The query parameter `cursor` must be a `next` from an earlier answer.", field="cursor")
    return cursor


def page(
    name: str, found: Sequence[T], limit: int, id_of: Callable[[T], str], show: Callable[[T], Any]
) -> dict[str, Any]:
    """One page of what was asked for with `limit` + 1; `next` is there only when more follows."""
    shown = found[:limit]
    answer: dict[str, Any] = {name: [show(item) for item in shown]}
    if len(found) > limit:
        answer["next"] = id_of(shown[-1])
    return answer
