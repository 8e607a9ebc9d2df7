"""The database as the rest of the store sees it: short reads, and writes that take turns where they must."""

import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import exc

from inference.errors import BadSettings, DataRefused, NoRoom, PenstockError, StoreUnavailable
from inference.settings import StoreSettings
from inference.store.gate import Gate
from inference.store.sqlite_writer import SqliteWriter
from inference.waiting import refuse_on_loop

T = TypeVar("T")

MINIMUM_SQLITE = (3, 35, 0)
IDLE_IN_TRANSACTION_MS = 20_000
RETRIED_STATES = frozenset({"40001", "40P01"})


class Database:
    """An engine, its write gate and its dialect's few differences.

    `clock`: SQL for the current epoch seconds, by the database's clock. `is_sqlite` picks between the two forms
    in which set-based statements take their rows (`json_each`, `unnest`).
    """

    def __init__(self, url: str, settings: StoreSettings) -> None:
        self.url = _read_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self._gate: Gate | None = None
        if self.is_sqlite:
            self._engine = _open_sqlite(self.url, settings)
            self._writer = SqliteWriter(self._engine, synchronous=settings.sqlite_synchronous)
            self._gate = Gate(Path(f"{self.url.database}.gate"), timeout_s=settings.gate_timeout_s)
            # A subquery here and below: one instant for all rows, so that what is due is found by an index and not
            # by asking each row. SQLite's own clock counts milliseconds only.
            self.clock = "(SELECT penstock_now())"
        else:
            self._engine = _open_postgresql(self.url, settings)
            self.clock = "(SELECT extract(epoch FROM clock_timestamp())::float8)"

    @property
    def engine(self) -> sa.Engine:
        """For migrations; everybody else uses `read` and `write`."""
        return self._engine

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """Statements that change nothing, each its own snapshot. Raises StoreUnavailable; WouldWait on a loop."""
        refuse_on_loop()
        with _foreign_errors(), self._engine.connect() as connection:
            yield connection.execution_options(isolation_level="AUTOCOMMIT")

    @contextmanager
    def write(self, *, is_urgent: bool = False) -> Iterator[sa.Connection]:
        """One transaction, committed at the end and rolled back by any exception.

        On SQLite it has the write lock from its first statement on. `is_urgent`: it does not wait for the disk there,
        so that a machine that loses its power may lose it; but never alone: the journal is one file, and the next
        commit that waits for the disk waits for all before it. The end of a process loses nothing.
        Raises StoreUnavailable, DataRefused, NoRoom; WouldWait on a loop's thread.
        """
        refuse_on_loop()
        with _foreign_errors():
            if self._gate is None:
                with self._engine.begin() as connection:
                    yield connection
                return
            with self._gate.turn(), self._writer.transaction(is_urgent=is_urgent) as connection:
                yield connection

    def again(self, work: Callable[[], T], *, tries: int = 4, also_lost: bool = False) -> T:
        """Repeats a whole transaction that a deadlock or a serialisation failure rolled back.

        `also_lost`: also one whose connection was lost, so that nobody knows whether it was committed; only for
        work that may be done twice.
        """
        for left in range(tries - 1, -1, -1):
            try:
                return work()
            except StoreUnavailable as error:
                cause = error.__cause__
                is_lost = also_lost and isinstance(cause, exc.DBAPIError) and cause.connection_invalidated
                if not left or _is_late(cause) or not (is_lost or _is_rolled_back(cause)):
                    raise
        raise AssertionError("unreachable")

    @contextmanager
    def unhurried(self, connection: sa.Connection) -> Iterator[None]:
        """Statements that may take as long as they need: migrations."""
        raw: Any = connection.connection.driver_connection
        if self.is_sqlite:
            yield
            return
        limit_s, raw.limit_s = raw.limit_s, None
        try:
            yield
        finally:
            raw.limit_s = limit_s

    def now_s(self, connection: sa.Connection) -> float:
        """Epoch seconds by the database's clock."""
        return float(connection.exec_driver_sql(f"SELECT {self.clock}").scalar_one())

    def rows_from(self, name: str, columns: Mapping[str, str]) -> str:
        """A FROM item that yields the rows bound by `rows(name, ...)`, with typed columns, in order.

        `columns`: name -> PostgreSQL type. Use: `SELECT r.id FROM {db.rows_from("r", {"id": "text"})}`.
        """
        if self.is_sqlite:
            picks = ", ".join(f"json_extract(value, '$[{i}]') AS {column}" for i, column in enumerate(columns))
            return f"(SELECT {picks} FROM json_each(:{name})) AS {name}"
        arrays = ", ".join(f"CAST(:{name}_{column} AS {kind}[])" for column, kind in columns.items())
        return f"unnest({arrays}) AS {name}({', '.join(columns)})"

    def rows(self, name: str, columns: Iterable[str], rows: Iterable[tuple[Any, ...]]) -> dict[str, Any]:
        """The bound values for `rows_from`."""
        if self.is_sqlite:
            return {name: json.dumps(list(rows))}
        listed = list(rows)
        return {f"{name}_{column}": [row[i] for row in listed] for i, column in enumerate(columns)}

    def among(self, column: str, name: str) -> str:
        """A condition: `column` is one of the ids bound as `name` by `ids`."""
        if self.is_sqlite:
            return f"{column} IN (SELECT value FROM json_each(:{name}))"
        return f"{column} = ANY(string_to_array(:{name}, ','))"

    def ids(self, values: Iterable[str]) -> str:
        """The bound value for `among`: one text, since psycopg makes an array element by element, in Python."""
        return json.dumps(list(values)) if self.is_sqlite else ",".join(values)

    def by(self, index: str) -> str:
        """For after a table's name and alias: reads it by this index.

        SQLite must be told where a partial index is meant: it knows nothing of how rare its rows are, and may walk
        through all jobs that are over. Nothing on PostgreSQL, which keeps count.
        """
        return f" INDEXED BY {index}" if self.is_sqlite else ""

    def ping(self) -> None:
        """Raises StoreUnavailable when the database does not answer."""
        with self.read() as connection:
            connection.exec_driver_sql("SELECT 1")

    def close(self) -> None:
        if self._gate is not None:
            self._writer.close()
            self._gate.close()
        self._engine.dispose()


def _read_url(url: str) -> sa.URL:
    """Raises BadSettings, which does not repeat the URL: it may hold a password."""
    try:
        return sa.make_url(_with_driver(url))
    except (sa.exc.ArgumentError, ValueError) as error:
        raise BadSettings(
            "PENSTOCK_DATABASE_URL is no URL; write sqlite:////path/to/file.db or postgresql://user:password@host/name.",
            name="PENSTOCK_DATABASE_URL",
        ) from error


def _with_driver(url: str) -> str:
    """Plain `postgresql://` and `postgres://` mean psycopg 3, the driver we bring."""
    for prefix in ("postgresql://", "postgres://"):
        if url.startswith(prefix):
            return "postgresql+psycopg://" + url.removeprefix(prefix)
    return url


def _open_sqlite(url: sa.URL, settings: StoreSettings) -> sa.Engine:
    if sqlite3.sqlite_version_info < MINIMUM_SQLITE:
        raise BadSettings(f"SQLite {sqlite3.sqlite_version} is too old; 3.35 or newer is needed.", name="database_url")
    if not url.database or url.database == ":memory:":
        raise BadSettings("PENSTOCK_DATABASE_URL must name a SQLite file, not memory.", name="PENSTOCK_DATABASE_URL")
    try:
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadSettings(
            f"The folder of the database, {Path(url.database).parent}, cannot be made: {error.strerror}.",
            name="PENSTOCK_DATABASE_URL",
        ) from error
    engine = sa.create_engine(
        url,
        connect_args={"isolation_level": None, "check_same_thread": False, "timeout": settings.gate_timeout_s},
        pool_size=max(settings.pool_size, 2),
        max_overflow=64,
        hide_parameters=True,  # errors are logged, and parameters are payloads and digests
    )

    @sa.event.listens_for(engine, "do_connect")
    def _own(*_: object) -> None:
        """SQLite would make the file by the umask; its journals take over the mode."""
        path = str(url.database)
        with suppress(OSError):  # there already, or SQLite says what is wrong
            if not path.startswith("file:"):
                os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))

    @sa.event.listens_for(engine, "connect")
    def _prepare(connection: sqlite3.Connection, _record: object) -> None:
        connection.create_function("penstock_now", 0, time.time)
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute(f"PRAGMA synchronous={settings.sqlite_synchronous}")
        cursor.execute(f"PRAGMA cache_size=-{settings.sqlite_cache_kb}")
        cursor.execute("PRAGMA temp_store=MEMORY")
        cursor.execute("PRAGMA journal_size_limit=67108864")
        cursor.close()

    return engine


def _open_postgresql(url: sa.URL, settings: StoreSettings) -> sa.Engine:
    if url.get_backend_name() != "postgresql":
        raise BadSettings(
            f"PENSTOCK_DATABASE_URL names '{url.get_backend_name()}'; known are sqlite and postgresql.",
            name="PENSTOCK_DATABASE_URL",
        )
    limit_s = settings.answer_timeout_s or None
    network_ms = round(1000 * (limit_s or settings.connect_timeout_s))
    engine = sa.create_engine(
        url,
        connect_args={
            "connect_timeout": max(2, round(settings.connect_timeout_s)),  # libpq takes 1 for 2
            "tcp_user_timeout": network_ms,
            "keepalives_idle": 10,
            "keepalives_interval": 3,
            "keepalives_count": 3,
            "application_name": "penstock",
        },
        pool_size=settings.pool_size,
        pool_timeout=settings.connect_timeout_s,
        max_overflow=32,
        hide_parameters=True,
        pool_pre_ping=False,
        pool_recycle=1800,
    )

    from inference.store.patience import Connection  # here: a process on SQLite needs no psycopg

    @sa.event.listens_for(engine, "do_connect")
    def _connect(_dialect: object, _record: object, arguments: Any, named: Any) -> Connection:
        connection = Connection.connect(*arguments, **named)
        connection.limit_s = limit_s
        return connection

    @sa.event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: object) -> None:
        # A process that stands still in the middle of a claim must not keep its rows from all others.
        connection.execute(f"SET idle_in_transaction_session_timeout = {IDLE_IN_TRANSACTION_MS}")
        # A plan is kept for long, and made while the tables are all but empty: going through all of `jobs` looks cheap
        # then, and a claim would cost more with each job that ever was. Nor may a cost that is put on make it compile.
        connection.execute("SET enable_seqscan = off")
        connection.execute("SET jit = off")
        connection.commit()

    return engine


@contextmanager
def _foreign_errors() -> Iterator[None]:
    """A database's exception becomes ours here, once."""
    try:
        yield
    except PenstockError:
        raise
    except exc.SQLAlchemyError as error:
        raise _ours(error) from error
    except UnicodeError as error:
        raise DataRefused(f"The database refuses this text: {error}") from error


def _ours(error: exc.SQLAlchemyError) -> PenstockError:
    cause = error.orig if isinstance(error, exc.DBAPIError) else None
    text = str(cause or error).strip().splitlines()[0] if str(cause or error).strip() else type(error).__name__
    if "disk is full" in text or "No space left" in text:
        return NoRoom("The database's disk is full.", part="sql")
    if isinstance(error, exc.DataError | exc.IntegrityError) or isinstance(cause, ValueError | UnicodeError):
        return DataRefused(f"The database refuses this data: {text}")
    return StoreUnavailable(f"The database is away or failed: {text}", part="sql", retry_after_s=1)


def _is_late(cause: BaseException | None) -> bool:
    return bool(getattr(getattr(cause, "orig", None), "is_late", False))


def _is_rolled_back(cause: BaseException | None) -> bool:
    origin = getattr(cause, "orig", None)
    return getattr(origin, "sqlstate", None) in RETRIED_STATES
