"""Looks a name up, within a time: the system's own limits may add up to a minute, and nobody can end its call."""

import queue
import threading
from collections.abc import Sequence

from inference.notify import guard


def within(limit_s: float, host: str, port: int, *, resolve: guard.Resolve = guard.lookup) -> Sequence[str]:
    """The addresses of the host. Raises OSError; a lookup that takes longer is left to itself."""
    found: queue.SimpleQueue[Sequence[str] | OSError] = queue.SimpleQueue()

    def ask() -> None:
        try:
            found.put(resolve(host, port))
        except OSError as error:
            found.put(error)
        except ValueError as error:  # a label of more than 63 characters
            found.put(OSError(str(error)))

    threading.Thread(target=ask, name="lookup", daemon=True).start()
    try:
        answer = found.get(timeout=limit_s)
    except queue.Empty:
        raise OSError(f"no answer within {limit_s:g} s") from None
    if isinstance(answer, OSError):
        raise answer
    return answer


def pinned(target: guard.Target) -> tuple[str, str]:
    """Scheme, address and port to call, as the beginning of a URL; and the `Host` to send there."""
    address = f"[{target.address}]" if ":" in target.address else target.address
    host = f"[{target.host}]" if ":" in target.host else target.host
    is_plain = target.port == (443 if target.scheme == "https" else 80)
    return f"{target.scheme}://{address}:{target.port}", host if is_plain else f"{host}:{target.port}"
