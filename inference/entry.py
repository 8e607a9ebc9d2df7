"""How a process of ours begins and ends: what keeps it from starting is one sentence, never a traceback."""

import socket
import sys
from collections.abc import Callable
from typing import NoReturn

from inference.errors import BadSettings, KeysNeeded, PenstockError
from inference.ranges import PORT

KEYS_NEEDED = 2


def run(main: Callable[[], int]) -> NoReturn:
    """Ends the process with `main`'s code; with 1 and a sentence on stderr for an error of ours, 2 for want of keys."""
    sys.exit(code_of(main))


def code_of(main: Callable[[], int | None]) -> int:
    """The code with which `run` would end the process; it has said why."""
    try:
        return main() or 0
    except PenstockError as error:
        sys.stderr.write(f"penstock: {error.message}\n")
        return KEYS_NEEDED if isinstance(error, KeysNeeded) else 1


def require_free(host: str, port: int) -> None:
    """Raises BadSettings for an address that this process cannot listen on: servers tell it in a traceback."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(1)
    except OSError as error:
        raise BadSettings(
            f"Cannot listen on {host} port {port} ({error.strerror}): choose another with --host and --port.",
            host=host,
            port=port,
        ) from error


def port(text: str) -> int:
    """The value of an option `--port`. Raises BadSettings."""
    low, high = PORT
    if not text.isascii() or not text.isdecimal() or not low <= int(text[:9]) <= high:
        raise BadSettings(f"--port must be a port, 0 to 65535 (0 takes a free one), not {text[:20]}.", name="--port")
    return int(text)
