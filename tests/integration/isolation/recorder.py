"""Notes which SQL statements an operation of the API executes."""

from collections.abc import Iterator
from contextlib import contextmanager


class Recorder:
    """Statements by the operation that executed them, while it watches."""

    def __init__(self) -> None:
        self.seen: dict[str, str] = {}
        self._operation = ""

    @contextmanager
    def watching(self, operation: str) -> Iterator[None]:
        self._operation = operation
        try:
            yield
        finally:
            self._operation = ""

    def note(self, _connection: object, _cursor: object, statement: str, *_: object) -> None:
        if self._operation:
            self.seen.setdefault(statement, self._operation)
