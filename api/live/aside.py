"""Steps that seldom wait: on the loop when they need not, else on a thread."""

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any, TypeVar

from inference.errors import WouldWait

T = TypeVar("T")


async def aside(threads: Executor, step: Callable[..., T], *arguments: Any) -> T:
    """What `step` gives: at once if it need not wait, else from one of `threads`. It may be called twice.

    Whoever keeps the loop from waiting (the store does) raises WouldWait before anything was changed.
    """
    try:
        return step(*arguments)
    except WouldWait:
        # With what is known of the request: its trace, say.
        known = contextvars.copy_context()
        return await asyncio.get_running_loop().run_in_executor(threads, known.run, step, *arguments)
