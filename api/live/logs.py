"""`GET /services/{id}/logs/tail` and `/logs/tail`: entries as they come, as server-sent events."""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor

import structlog
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from api import errors, query
from api.live.aside import aside
from api.live.events import HEADERS, KIND
from api.schemas import logs as schemas
from inference import clock
from inference.access.model import Principal, Reach, Role
from inference.clock import monotonic_s
from inference.core import Core
from inference.errors import PenstockError, ServiceNotFound, Unavailable
from inference.ids import is_id
from inference.logs.query import Tail, question

log = structlog.get_logger(__name__)

LOOK_S = 1.0
BEAT_S = 15.0
BEAT = b":\n\n"
KNOWN = ("level", "keyword", "task_id")

Enter = Callable[[Request, bool, Role, Reach], Principal]
"""Who asks, by the request's key; True counts it as a new request."""


class LogTails:
    """Each open tail looks once a second, by an index, at the entries of the last seconds."""

    def __init__(self, core: Core, readers: Executor, enter: Enter) -> None:
        self._core, self._readers, self._enter = core, readers, enter
        self._open = 0

    def __len__(self) -> int:
        return self._open

    async def show(self, request: Request) -> Response:
        """The stream. It ends with an `error` event when the caller may listen no longer."""
        service_id: str | None = request.path_params.get("service_id")
        right = (Role.VIEWER, Reach.SERVICE) if service_id is not None else (Role.ADMIN, Reach.SYSTEM)
        principal = await aside(self._readers, self._enter, request, True, *right)
        said = query.read(request.query_params.multi_items(), KNOWN)
        if service_id is not None:
            if not is_id(service_id):
                raise ServiceNotFound(f"There is no service `{service_id[:64]}`.", id=service_id[:64])
            get = self._core.serving.services.get
            await asyncio.get_running_loop().run_in_executor(self._readers, get, principal.scope, service_id)
        asked = question(
            service_id=service_id,
            level=said.get("level"),
            keyword=said.get("keyword"),
            task_id=said.get("task_id"),
        )
        tail = Tail(self._core.logs, asked, since=clock.epoch_s())
        return StreamingResponse(self._tell(request, tail, right), media_type=KIND, headers=HEADERS)

    async def _tell(self, request: Request, tail: Tail, right: tuple[Role, Reach]) -> AsyncIterator[bytes]:
        self._open += 1
        run, told_at = asyncio.get_running_loop().run_in_executor, monotonic_s()
        try:
            yield b"retry: 1000\n\n"
            while True:
                await asyncio.sleep(LOOK_S)
                try:
                    await aside(self._readers, self._enter, request, False, *right)
                    news = await run(self._readers, tail.look)
                except Unavailable as error:
                    log.debug("tail_waits", reason=error.message)
                    news = []
                for entry in news:
                    yield schemas.event(entry)
                if news:
                    told_at = monotonic_s()
                elif monotonic_s() >= told_at + BEAT_S:
                    told_at = monotonic_s()
                    yield BEAT
        except PenstockError as error:
            yield b"event: error\ndata: %s\n\n" % errors.answer(error).body
        finally:
            self._open -= 1
