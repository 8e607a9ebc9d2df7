"""Jobs in and results out by the hundred thousand: one statement a block, and pages by key.

SQLite takes a block from two values, so that the interpreter's lock is let go once and not at every row; PostgreSQL
by COPY, which costs a quarter of an INSERT from arrays.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import accumulate
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy import exc

from inference.access.model import Scope
from inference.errors import DataRefused, ServiceNotFound
from inference.jobs.block import Block, Page
from inference.jobs.model import FINAL, JobFilter
from inference.store.database import Database
from inference.store.job_filter import conditions, id_range
from inference.store.job_views import RESULT, VIEW, view
from inference.store.jobs_insert import refuse_closed
from inference.store.scoped import jobs_in

PAGE_BYTES = 4_000_000
WINDOW = 1_000
"""Tasks that one step looks at, whether they fit or not."""

BY_KEY = "BEGIN; SET LOCAL enable_sort = off; SET LOCAL enable_bitmapscan = off; SET LOCAL enable_hashjoin = off"
"""Until a large table is analysed, PostgreSQL takes it for a small one, and reads and sorts all of it for each page."""

_STATE = sa.text("SELECT state, queue_while_stopped FROM services WHERE id = :id AND tenant_id = :tenant")
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


class SqlBulk:
    """`BulkStore` on SQLite or PostgreSQL. Safe to share between threads."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def insert(self, block: Block) -> None:
        tries = 0

        def work() -> None:
            nonlocal tries
            tries += 1
            with self._db.write() as connection:
                if tries > 1 and _is_there(connection, block):  # the connection was lost after the commit
                    return
                _refuse_closed(connection, block)
                if self._db.is_sqlite:
                    _insert_from_json(connection, block)
                else:
                    _copy(connection, block)

        try:
            self._db.again(work, also_lost=True)
        except DataRefused:
            # A COMMIT whose connection was lost may have ended just now: then the same ids are refused.
            with self._db.read() as connection:
                if tries == 1 or not _is_there(connection, block):
                    raise

    def page(self, scope: Scope, which: JobFilter, *, after: str | None, limit: int) -> Page:
        inside, bound = jobs_in(scope, "j")
        fits, more = _conditions(which)
        ids, _ = id_range(which)
        bound |= more | {"service": which.service_id, "after": after or ""}
        window = (
            f"SELECT j.id, {fits} AS fits, coalesce(length(x.body), 0) AS size "
            "FROM jobs j LEFT JOIN results x ON x.job_id = j.id "
            f"WHERE {inside} AND j.service_id = :service AND j.id > :after{ids} ORDER BY j.id LIMIT :window"
        )
        page = (
            f"SELECT {VIEW}, {RESULT} FROM jobs j LEFT JOIN results x ON x.job_id = j.id "
            f"WHERE {inside} AND j.service_id = :service AND j.id > :after AND j.id <= :last AND {fits} ORDER BY j.id"
        )
        with self._db.read() as connection:
            if not self._db.is_sqlite:
                connection.exec_driver_sql(BY_KEY)
            seen = connection.execute(sa.text(window), bound | {"window": WINDOW}).all()
            last, count = _end(seen, limit)
            rows = connection.execute(sa.text(page), bound | {"last": last}).all() if count else []
            if not self._db.is_sqlite:
                connection.exec_driver_sql("COMMIT")
        if not count:
            return Page(views=(), after=last)
        is_end = len(seen) < WINDOW and last == seen[-1].id
        return Page(views=[view(row._asdict()) for row in rows], after=None if is_end else last)


def _end(seen: Sequence[Any], limit: int) -> tuple[str | None, int]:
    """The id up to which a page may reach, and how many fit until there; None with the last window of all."""
    count = size = 0
    for row in seen:
        if row.fits:
            count += 1
            size += row.size
            if count >= limit or size >= PAGE_BYTES:
                return row.id, count
    if count:
        return seen[-1].id, count
    return (seen[-1].id if len(seen) == WINDOW else None), 0


def _conditions(which: JobFilter) -> tuple[str, dict[str, Any]]:
    """What a task must be to be shown, as SQL and what it binds. Only what is over has a result."""
    fits, bound = conditions(which)
    is_over = "" if which.state else f" AND j.state IN ({', '.join(repr(state.value) for state in sorted(FINAL))})"
    return f"(true{fits}{is_over})", bound


def _is_there(connection: sa.Connection, block: Block) -> bool:
    found = sa.text("SELECT 1 FROM jobs WHERE id = :id AND tenant_id = :tenant")
    return connection.execute(found, {"id": block.ids[0], "tenant": block.tenant_id}).first() is not None


def _refuse_closed(connection: sa.Connection, block: Block) -> None:
    row = connection.execute(_STATE, {"id": block.service_id, "tenant": block.tenant_id}).first()
    if row is None:
        raise ServiceNotFound(f"There is no service {block.service_id}.", service_id=block.service_id)
    if (refusal := refuse_closed(block.service_id, row.state, queues=row.queue_while_stopped)) is not None:
        raise refusal


def _insert_from_json(connection: sa.Connection, block: Block) -> None:
    alike = _alike(block)
    names = ["id", "order_key", *block.differing, *alike]
    if block.differing:
        width = 1 + len(block.differing)
        picks = [f"json_extract(value, '$[{i}]')" for i in range(width)]
        rows: object = list(zip(block.order_keys, *block.differing.values(), strict=True))
    else:
        picks, rows = ["value"], block.order_keys
    its_id = "CAST(substr(:block_ids, 32 * key + 1, 32) AS TEXT)"
    connection.execute(
        sa.text(
            f"INSERT INTO jobs ({', '.join(names)}) SELECT {', '.join([its_id, *picks, *(f':{n}' for n in alike)])} "
            "FROM json_each(:block_rows) WHERE true"
        ),
        {**alike, "block_ids": "".join(block.ids).encode(), "block_rows": orjson.dumps(rows).decode()},
    )
    ends = list(accumulate(map(len, block.payloads)))
    spans = [(end - len(body) + 1, len(body)) for end, body in zip(ends, block.payloads, strict=True)]
    connection.execute(
        sa.text(
            f"INSERT INTO payloads (job_id, body) SELECT {its_id}, "
            "substr(:bodies, json_extract(value, '$[0]'), json_extract(value, '$[1]')) "
            "FROM json_each(:spans) WHERE true"
        ),
        {
            "block_ids": "".join(block.ids).encode(),
            "bodies": b"".join(block.payloads),
            "spans": orjson.dumps(spans).decode(),
        },
    )


def _copy(connection: sa.Connection, block: Block) -> None:
    alike = _alike(block)
    names = ["id", "order_key", *block.differing, *alike]
    tail = "".join(f"\t{_told(value)}" for value in alike.values()) + "\n"
    columns = [block.ids, map(repr, block.order_keys), *(map(_told, values) for values in block.differing.values())]
    lines = "".join(["\t".join(row) + tail for row in zip(*columns, strict=True)])
    bodies = "".join([f"{i}\t\\\\x{body.hex()}\n" for i, body in zip(block.ids, block.payloads, strict=True)])
    with _foreign_errors(connection), _driver(connection).cursor() as cursor:
        with cursor.copy(f"COPY jobs ({', '.join(names)}) FROM STDIN") as into:
            into.write(lines)
        with cursor.copy("COPY payloads (job_id, body) FROM STDIN") as into:
            into.write(bodies)


def _alike(block: Block) -> Mapping[str, Any]:
    return {"tenant_id": block.tenant_id, "service_id": block.service_id, "state": "pending", **block.alike}


def _told(value: Any) -> str:
    """A value in COPY's text form."""
    if value is None:
        return "\\N"
    return value.translate(_ESCAPES) if isinstance(value, str) else repr(value)


def _driver(connection: sa.Connection) -> Any:
    """The connection as psycopg knows it."""
    return connection.connection.driver_connection


@contextmanager
def _foreign_errors(connection: sa.Connection) -> Iterator[None]:
    """The driver's errors as SQLAlchemy would raise them; a connection that was lost is not used again."""
    import psycopg  # here: a process on SQLite has no need of it

    try:
        yield
    except psycopg.Error as error:
        is_lost = _driver(connection).closed
        if is_lost:
            connection.invalidate()
        raise exc.DBAPIError.instance(
            "COPY", None, error, psycopg.Error, hide_parameters=True, connection_invalidated=is_lost
        ) from error
