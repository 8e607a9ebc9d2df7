"""Where nobody may wait: the thread of an event loop must not stand still for a database."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from inference.errors import WouldWait

_loop_thread = 0
_hands: ThreadPoolExecutor | None = None


def forbid_here() -> None:
    """From now on `refuse_on_loop` raises on this thread: it runs an event loop."""
    global _loop_thread, _hands
    _loop_thread, _hands = threading.get_ident(), ThreadPoolExecutor(1, thread_name_prefix="ahead")


def allow_again() -> None:
    """The loop has ended. Waits for what was handed on."""
    global _loop_thread, _hands
    _loop_thread, hands, _hands = 0, _hands, None
    if hands is not None:
        hands.shutdown()


def refuse_on_loop() -> None:
    """Call before anything that waits. Raises WouldWait on the loop's thread, before anything was changed."""
    if threading.get_ident() == _loop_thread:
        raise WouldWait


def hand_on(step: Callable[[], object]) -> bool:
    """On the loop's thread: has another one do it, and returns True. Elsewhere nothing is done."""
    if _hands is None or threading.get_ident() != _loop_thread:
        return False
    _hands.submit(step)
    return True
