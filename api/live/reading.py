"""Reads of many tasks, gathered: who asks while a read is under way shares the next one."""

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor

from inference.access.model import Scope
from inference.core import Core
from inference.errors import JobNotFound
from inference.jobs import query
from inference.jobs.model import JobView

MOST = 200

Wanted = tuple[Scope, str, "asyncio.Future[JobView]"]


class Reading:
    """For the coroutines of one loop. A thousand clients that begin to wait at once cost some reads, not a thousand.

    There is no timer: a read begins when the one before it is done, with all that was asked meanwhile, at most `MOST`.
    """

    def __init__(self, core: Core, threads: Executor) -> None:
        self._core = core
        self._threads = threads
        self._wanted: list[Wanted] = []
        self._is_reading = False

    def get(self, scope: Scope, task_id: str) -> "asyncio.Future[JobView]":
        """The task, read after this call. The future raises JobNotFound, StoreUnavailable."""
        future: asyncio.Future[JobView] = asyncio.get_running_loop().create_future()
        self._wanted.append((scope, task_id, future))
        if not self._is_reading:
            self._is_reading = True
            asyncio.get_running_loop().call_soon(self._begin)
        return future

    def _begin(self) -> None:
        batch, self._wanted = self._wanted[:MOST], self._wanted[MOST:]
        by_scope: dict[Scope, list[str]] = {}
        for scope, task_id, _ in batch:
            by_scope.setdefault(scope, []).append(task_id)
        reading = asyncio.get_running_loop().run_in_executor(self._threads, self._read, by_scope)
        reading.add_done_callback(lambda done: self._end(batch, done))

    def _read(self, by_scope: Mapping[Scope, Sequence[str]]) -> Mapping[Scope, Mapping[str, JobView]]:
        return {
            scope: query.get_many(self._core.jobs, scope=scope, job_ids=list(dict.fromkeys(task_ids)))
            for scope, task_ids in by_scope.items()
        }

    def _end(self, batch: Sequence[Wanted], done: "asyncio.Future[Mapping[Scope, Mapping[str, JobView]]]") -> None:
        self._is_reading = bool(self._wanted)
        if self._wanted:
            self._begin()
        error = asyncio.CancelledError() if done.cancelled() else done.exception()
        for scope, task_id, future in batch:
            if future.done():
                continue
            if error is not None:
                future.set_exception(error)
            elif (view := done.result()[scope].get(task_id)) is not None:
                future.set_result(view)
            else:
                future.set_exception(JobNotFound(f"There is no task {task_id}.", task_id=task_id))
