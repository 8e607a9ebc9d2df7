"""`GET /tasks/{id}/events`: server-sent events of one task, from the beginning or from where a client stopped."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor

import structlog
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from api.live.aside import aside
from api.live.reading import Reading
from api.live.streams import Seen, Stream, Streams
from inference.access.model import Scope
from inference.core import Core
from inference.errors import Denied, JobNotFound, PenstockError, Unauthenticated, Unavailable
from inference.ids import is_id
from inference.jobs import events, progress
from inference.jobs.model import FINAL, JobHistory, JobState

log = structlog.get_logger(__name__)

KIND = "text/event-stream"
HEADERS = {"X-Accel-Buffering": "no"}
"""A front that gathers answers before it sends them must let these through."""

Enter = Callable[[Request, bool], Scope]
"""Who asks, by the request's key; True counts it as a new request."""


class Events:
    """The endpoint, and the streams that it has open."""

    def __init__(self, core: Core, readers: Executor, enter: Enter) -> None:
        self._core = core
        self._readers = readers
        self._enter = enter
        self._histories = Reading[JobHistory](core.jobs.store.histories, readers)
        self.streams = Streams(self._look)

    async def show(self, request: Request) -> Response:
        """The stream; 204, which ends a browser's attempts, for a client that has heard the end already."""
        task_id: str = request.path_params["task_id"]
        if not is_id(task_id):
            raise JobNotFound(f"There is no task `{task_id[:64]}`.", id=task_id[:64])
        scope = await aside(self._readers, self._enter, request, True)

        async def read() -> JobHistory:
            return await self._histories.get(scope, task_id)

        last = events.place_of(request.headers.get("last-event-id"))
        history = await read()
        if history.job.state in FINAL and not events.after(events.events(history), last):
            return Response(status_code=204)
        stream = Stream(task_id, lambda: self._check(request))
        return StreamingResponse(self.streams.tell(stream, read=read, last=last), media_type=KIND, headers=HEADERS)

    def _check(self, request: Request) -> None:
        self._enter(request, False)

    async def _look(self, streams: Sequence[Stream]) -> Seen:
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._look_now, streams)

    def _look_now(self, streams: Sequence[Stream]) -> Seen:
        """Never raises: with the database away, streams stay open and wait."""
        refusals: dict[Stream, PenstockError] = {}
        for stream in streams:
            try:
                stream.check()
            except (Unauthenticated, Denied) as error:
                refusals[stream] = error
            except PenstockError as error:
                log.debug("key_unchecked", reason=error.message)
        try:
            marks = self._core.jobs.store.marks(sorted({stream.task_id for stream in streams}))
        except Unavailable as error:
            log.warning("events_wait", reason=error.message, streams=len(streams))
            return Seen(None, refusals, {})
        running = [task_id for task_id, mark in marks.items() if mark.state is JobState.RUNNING]
        return Seen(marks, refusals, progress.current(self._core.progress.get(running), marks))
