"""Who waits for which task, and which tasks began here a moment ago. One event loop, no locks."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from inference.access.model import Scope
from inference.jobs.model import FINAL, End, JobView

READ_AGAIN_S = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
"""News may be lost: after so many seconds, and at the end, the state is read again."""
NEW_S = 1.0
"""For so long it is known of a task that was sent through here whether its end was heard."""
MOST_ENDED, MOST_ENDED_BYTES = 512, 4_096
"""Ends that are kept for whoever sent the task and has not asked yet, and how long an answer each may hold."""

Read = Callable[[str], Awaitable[JobView]]
Told = asyncio.Future[End | None]


def id_of(item: str | End) -> str:
    """Of the task that an item of the news is about."""
    return item if isinstance(item, str) else item.view.id


class Waiters:
    """Futures by task id. Use from one event loop only."""

    def __init__(self) -> None:
        self._waiting: dict[str, set[Told]] = {}
        self._new: dict[str, tuple[str, float]] = {}
        self._ended: dict[str, tuple[End, float]] = {}
        self._hears = False

    def __len__(self) -> int:
        return sum(len(futures) for futures in self._waiting.values())

    def hear(self, news: Iterable[str | End] | None) -> None:
        """Tells whoever waits for one of these, by id or with its end, that it is over. None: nothing is heard now."""
        self._hears = news is not None
        if news is None:
            self._new.clear()
            self._ended.clear()
            return
        for item in news:
            task_id = id_of(item)
            self._keep(task_id, item)
            for future in self._waiting.get(task_id, ()):
                if not future.done():
                    future.set_result(None if isinstance(item, str) else item)

    def _keep(self, task_id: str, item: str | End) -> None:
        """A fast task is over before its sender can ask. An id alone may say that an end was taken back."""
        is_new = self._new.pop(task_id, None)
        self._ended.pop(task_id, None)
        if is_new is None or isinstance(item, str) or len(item.view.result or b"") > MOST_ENDED_BYTES:
            return
        if len(self._ended) >= MOST_ENDED:
            del self._ended[next(iter(self._ended))]
        self._ended[task_id] = item, is_new[1]

    def expect(self, task_id: str, tenant_id: str) -> None:
        """Call before a new task is committed: then its end, which comes later, is heard, or it is not over."""
        if not self._hears:
            return
        now = asyncio.get_running_loop().time()
        for old in list(itertools.takewhile(lambda known: self._new[known][1] <= now, self._new)):
            del self._new[old]
        self._new[task_id] = tenant_id, now + NEW_S

    async def last_view(
        self, task_id: str, *, scope: Scope, wait_s: float, read: Read, gone: "asyncio.Future[None]"
    ) -> JobView:
        """The task as soon as it is over; as it is after `wait_s`, or when `gone` says that nobody listens any more.

        Registers first and reads then, so that news between the two is not missed; a task that is new is not read
        before its end is heard, and not at all by the first who asks when it was heard. Raises what `read` raises.
        """
        clock = asyncio.get_running_loop().time
        began = clock()
        if wait_s and (heard := self._heard(task_id, scope, began)) is not None:
            return heard
        told = self._register(task_id)
        either: set[asyncio.Future[Any]]
        try:
            view = None if wait_s and self._is_new(task_id, scope, began) else await read(task_id)
            for until_s in (*(moment for moment in READ_AGAIN_S if moment < wait_s), wait_s):
                if view is not None and (view.state in FINAL or gone.done()):
                    break
                left = began + until_s - clock()
                either = {told, gone}
                await asyncio.wait(either, timeout=max(0.0, left), return_when=asyncio.FIRST_COMPLETED)
                if view is not None and gone.done():
                    break
                if told.done():
                    end = told.result()
                    if end is not None and _is_true(end, scope, view):
                        return end.view
                    told = self._again(task_id, told)
                view = await read(task_id)
            return view if view is not None else await read(task_id)
        finally:
            self._forget(task_id, told)

    def _heard(self, task_id: str, scope: Scope, now: float) -> JobView | None:
        """The end of a task that was sent through here a moment ago, told once."""
        end, until = self._ended.pop(task_id, (None, 0.0))
        if end is None or now >= until or not (scope.is_whole_tenant and _is_true(end, scope, None)):
            return None
        return end.view

    def _is_new(self, task_id: str, scope: Scope, now: float) -> bool:
        """Whether the task was sent through here, by somebody of this tenant, and its end was not heard."""
        tenant_id, until = self._new.pop(task_id, ("", 0.0))
        return scope.is_whole_tenant and tenant_id == scope.tenant_id and now < until

    def _register(self, task_id: str) -> Told:
        future: Told = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(task_id, set()).add(future)
        return future

    def _again(self, task_id: str, told: Told) -> Told:
        """For news that come while the state is read, or later: what woke us may have been forged, or early."""
        self._forget(task_id, told)
        return self._register(task_id)

    def _forget(self, task_id: str, future: Told) -> None:
        futures = self._waiting[task_id]
        futures.discard(future)
        if not futures:
            del self._waiting[task_id]


def _is_true(end: End, scope: Scope, view: JobView | None) -> bool:
    """Whether the end is the caller's to see, and not that of a generation before the one that was read."""
    return end.tenant_id == scope.tenant_id and (view is None or end.view.generation >= view.generation)
