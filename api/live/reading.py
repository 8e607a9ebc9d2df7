"""Reads of many tasks, gathered: who asks while a read is under way shares the next one."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Generic, TypeVar

from inference.access.model import Scope
from inference.errors import JobNotFound

MOST = 200

T = TypeVar("T")

ReadMany = Callable[[Scope, Sequence[str]], Mapping[str, T]]
"""By id, those that are there for the caller; on a thread."""


@dataclass(frozen=True, slots=True)
class _Wanted(Generic[T]):
    scope: Scope
    task_id: str
    future: "asyncio.Future[T]"


class Reading(Generic[T]):
    """For the coroutines of one loop. A thousand clients that begin to wait at once cost some reads, not a thousand.

    There is no timer: a read begins when the one before it is done, with all that was asked meanwhile, at most `MOST`.
    """

    def __init__(self, read_many: ReadMany[T], threads: Executor) -> None:
        self._read_many = read_many
        self._threads = threads
        self._wanted: list[_Wanted[T]] = []
        self._is_reading = False

    def get(self, scope: Scope, task_id: str) -> "asyncio.Future[T]":
        """The task as it was read after this call. The future raises JobNotFound, and what the reading raises."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._wanted.append(_Wanted(scope, task_id, future))
        if not self._is_reading:
            self._is_reading = True
            loop.call_soon(self._begin)
        return future

    def _begin(self) -> None:
        batch, self._wanted = self._wanted[:MOST], self._wanted[MOST:]
        by_scope: dict[Scope, list[str]] = {}
        for one in batch:
            by_scope.setdefault(one.scope, []).append(one.task_id)
        reading = asyncio.get_running_loop().run_in_executor(self._threads, self._read, by_scope)
        reading.add_done_callback(lambda done: self._end(batch, done))

    def _read(self, by_scope: Mapping[Scope, Sequence[str]]) -> Mapping[Scope, Mapping[str, T]]:
        return {scope: self._read_many(scope, list(dict.fromkeys(ids))) for scope, ids in by_scope.items()}

    def _end(self, batch: Sequence[_Wanted[T]], done: "asyncio.Future[Mapping[Scope, Mapping[str, T]]]") -> None:
        self._is_reading = bool(self._wanted)
        if self._wanted:
            self._begin()
        error = asyncio.CancelledError() if done.cancelled() else done.exception()
        for one in batch:
            if one.future.done():
                continue
            if error is not None:
                one.future.set_exception(error)
            elif (found := done.result()[one.scope].get(one.task_id)) is not None:
                one.future.set_result(found)
            else:
                one.future.set_exception(JobNotFound(f"There is no task {one.task_id}.", task_id=one.task_id))
