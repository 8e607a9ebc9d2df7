"""Servers with marked passwords, and the eyes that look for what was marked."""

import secrets
import stat
import threading
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import psycopg

from tests.services import Postgres, Valkey, answers, wait_for

Told = dict[str, str]
"""Where a canary was found: place -> which canary."""


def mark(name: str) -> str:
    """A text that stands nowhere else."""
    return f"canary-{name}-{secrets.token_hex(8)}"


class LockedValkey(Valkey):
    """Valkey that asks for a password."""

    def __init__(self, folder: Path, password: str) -> None:
        super().__init__(folder)
        self._password = password
        with (folder / "valkey.conf").open("a") as config:
            config.write(f"requirepass {password}\n")

    @property
    def url(self) -> str:
        return f"redis://:{self._password}@127.0.0.1:{self.port}/0"

    def start(self) -> None:
        self.process.start()
        hello = f"AUTH {self._password}\r\n".encode()
        wait_for(lambda: answers(self.port, say=hello, expect=b"+OK"), timeout_s=10, what="locked Valkey")


class LockedPostgres(Postgres):
    """PostgreSQL with a database of ours, whose owner has a password that is asked for."""

    def start(self) -> None:
        super().start()
        self._say("CREATE ROLE penstock LOGIN", "CREATE DATABASE ours OWNER penstock")

    def lock(self, password: str) -> str:
        """The URL by which the owner comes in from now on."""
        self._say(f"ALTER ROLE penstock PASSWORD '{password}'")
        rules = self.folder / "data" / "pg_hba.conf"
        rules.write_text(f"host all penstock 127.0.0.1/32 scram-sha-256\n{rules.read_text()}")
        self._say("SELECT pg_reload_conf()")
        return f"postgresql://penstock:{password}@127.0.0.1:{self.port}/ours"

    def shut(self) -> None:
        """Nobody gets in, and whoever is in is thrown out."""
        gone = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'ours'"
        self._say("ALTER DATABASE ours ALLOW_CONNECTIONS false", gone)

    def open(self) -> None:
        self._say("ALTER DATABASE ours ALLOW_CONNECTIONS true")

    def rename(self, table: str, to: str) -> None:
        with psycopg.connect(f"{self.url.removesuffix('/postgres')}/ours", autocommit=True) as connection:
            connection.execute(f"ALTER TABLE {table} RENAME TO {to}")

    def _say(self, *statements: str) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)


class CommandLines:
    """Every command line that any process of this machine has while it watches."""

    def __init__(self) -> None:
        self.seen: set[str] = set()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "CommandLines":
        self._thread.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.05):
            for entry in Path("/proc").iterdir():
                if entry.name.isdigit():
                    with suppress(OSError):
                        self.seen.add((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))


def look(canaries: Mapping[str, str], places: Mapping[str, str | bytes]) -> list[str]:
    """`canary in place` for each that is found."""
    return [
        f"{name} in {place}: {_around(content, text)}"
        for place, content in places.items()
        for name, text in canaries.items()
        if (text.encode() if isinstance(content, bytes) else text) in content  # type: ignore[operator]
    ]


def _around(content: str | bytes, text: str) -> str:
    plain = content.decode(errors="replace") if isinstance(content, bytes) else content
    at = plain.find(text)
    return repr(plain[max(0, at - 150) : at + len(text) + 20])


def files(folders: Iterable[Path]) -> dict[str, bytes]:
    """Every regular file below, by its path; one that goes while we look is gone."""
    found = {}
    for path in (path for folder in folders for path in folder.rglob("*")):
        with suppress(FileNotFoundError):
            if path.is_file() and not path.is_symlink():
                found[str(path)] = path.read_bytes()
    return found


def is_private(path: Path, root: Path) -> bool:
    """Whether nobody but its owner may read the file: its own mode says so, or that of a folder above, up to `root`."""
    above = [folder for folder in path.parents if folder.is_relative_to(root)]
    return any(stat.S_IMODE(place.stat().st_mode) & 0o077 == 0 for place in (path, *above))
