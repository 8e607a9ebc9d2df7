"""The one way in which a call to the API fails, for those who catch it."""

from collections.abc import Mapping
from typing import Any


class CallFailed(Exception):
    """A call without a good answer: one sentence, a stable code, and fields. `status` 0: nobody answered."""

    def __init__(self, message: str, *, code: str, status: int = 0, details: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.status = status
        self.details = dict(details or {})
