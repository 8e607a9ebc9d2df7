"""What the OpenAPI document says of the ways in which an operation refuses."""

from collections.abc import Sequence
from typing import Any

from api.errors import JSON, status_of
from inference import errors
from inference.errors import PenstockError


def refusals(*kinds: type[PenstockError]) -> dict[str, Any]:
    """The responses of an operation that may refuse in these ways, grouped by status, with an example each."""
    by_status: dict[int, list[type[PenstockError]]] = {}
    for kind in (*kinds, errors.StoreUnavailable):
        by_status.setdefault(status_of(kind), []).append(kind)
    return {str(status): _refusal(status, kinds) for status, kinds in sorted(by_status.items())}


def _refusal(status: int, kinds: Sequence[type[PenstockError]]) -> dict[str, Any]:
    codes = [kind.code for kind in kinds]
    examples = {code: {"value": {"code": code, "message": f"One sentence on {code}.", "details": {}}} for code in codes}
    answer: dict[str, Any] = {
        "description": " or ".join(f"`{code}`" for code in codes),
        "content": {JSON: {"schema": {"$ref": "#/components/schemas/Error"}, "examples": examples}},
    }
    if status in (429, 503):
        answer["headers"] = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds to wait"}}
    return answer


def merged(documented: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """`more` refusals, those that share a status with `documented` ones naming both."""
    return {
        status: {**answer, "description": f"{documented[status]['description']} or {answer['description']}"}
        if status in documented and documented[status]["description"] != answer["description"]
        else answer
        for status, answer in more.items()
    }
