"""Where nobody may wait: the thread of an event loop must not stand still for a database."""

import threading

from inference.errors import WouldWait

_loop_thread = 0


def forbid_here() -> None:
    """From now on `refuse_on_loop` raises on this thread: it runs an event loop."""
    global _loop_thread
    _loop_thread = threading.get_ident()


def allow_again() -> None:
    """The loop has ended."""
    global _loop_thread
    _loop_thread = 0


def refuse_on_loop() -> None:
    """Call before anything that waits. Raises WouldWait on the loop's thread, before anything was changed."""
    if threading.get_ident() == _loop_thread:
        raise WouldWait
