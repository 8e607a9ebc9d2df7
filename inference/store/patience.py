"""A connection to PostgreSQL that does not wait for ever: a server may stand still without closing anything."""

from typing import Any

import psycopg
from psycopg import errors


class LateAnswer(psycopg.OperationalError):
    """Nobody knows what became of the statement, and to ask again at once would take as long."""

    is_late = True


class Connection(psycopg.Connection[Any]):
    """`limit_s`: how long an answer may take; None for ever. An answer that is late costs the connection.

    libpq's own limits end where the network fails. A server that is stopped, or whose disk hangs, acknowledges every
    byte and answers nothing.
    """

    limit_s: float | None = None

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        """As psycopg's, with the limit where the caller has none. Raises LateAnswer when it is over."""
        limit_s = self.limit_s if timeout is None else timeout
        try:
            return super().wait(gen, interval, limit_s)
        except errors._WaitTimeout as error:
            if timeout is not None:
                raise
            # What the server makes of the statement is unknown; nobody may go on with this connection.
            self.pgconn.finish()
            raise LateAnswer(f"no answer within {limit_s:g} s") from error
