"""Who waits for which task. One event loop, no locks."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable

from inference.jobs.model import FINAL, JobView

READ_AGAIN_S = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
"""News may be lost: after so many seconds, and at the end, the state is read again."""

Read = Callable[[str], Awaitable[JobView]]


class Waiters:
    """Futures by task id. Use from one event loop only."""

    def __init__(self) -> None:
        self._waiting: dict[str, set[asyncio.Future[None]]] = {}

    def __len__(self) -> int:
        return sum(len(futures) for futures in self._waiting.values())

    def wake(self, task_ids: Iterable[str]) -> None:
        """Tells whoever waits for one of these that it is over."""
        for task_id in task_ids:
            for future in self._waiting.get(task_id, ()):
                if not future.done():
                    future.set_result(None)

    async def last_view(self, task_id: str, *, wait_s: float, read: Read, gone: "asyncio.Future[None]") -> JobView:
        """The task as soon as it is over; as it is after `wait_s`, or when `gone` says that nobody listens any more.

        Registers first and reads then, so that news between the two is not missed. Raises what `read` raises.
        """
        clock = asyncio.get_running_loop().time
        began = clock()
        told = self._register(task_id)
        try:
            view = await read(task_id)
            for until_s in (*(moment for moment in READ_AGAIN_S if moment < wait_s), wait_s):
                if view.state in FINAL or gone.done():
                    break
                left = began + until_s - clock()
                await asyncio.wait({told, gone}, timeout=max(0.0, left), return_when=asyncio.FIRST_COMPLETED)
                if gone.done():
                    break
                if told.done():
                    told = self._again(task_id, told)
                view = await read(task_id)
            return view
        finally:
            self._forget(task_id, told)

    def _register(self, task_id: str) -> "asyncio.Future[None]":
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(task_id, set()).add(future)
        return future

    def _again(self, task_id: str, told: "asyncio.Future[None]") -> "asyncio.Future[None]":
        """For news that come while the state is read, or later: what woke us may have been forged, or early."""
        self._forget(task_id, told)
        return self._register(task_id)

    def _forget(self, task_id: str, future: "asyncio.Future[None]") -> None:
        futures = self._waiting[task_id]
        futures.discard(future)
        if not futures:
            del self._waiting[task_id]
