"""The asynchronous process: what waits. Long polls and events of tasks, under both base paths."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeAlias

import orjson
import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, WebSocketRoute

from api import errors, peer, readiness
from api.guard import presented_in
from api.live import sockets
from api.live.aside import aside
from api.live.events import Events
from api.live.logs import LogTails
from api.live.reading import Reading
from api.live.waiters import Waiters, id_of
from api.schemas import costs, task_view
from inference.access.door import allow
from inference.access.model import Principal, Reach, Role, Scope
from inference.core import Core
from inference.errors import BadRequest, JobNotFound, PenstockError
from inference.ids import is_id, new_id
from inference.jobs import progress, query
from inference.jobs.model import End, JobState, JobView, Standing
from inference.telemetry.sample import Published

BASES = ("/api/v1/inference", "/api/inference")
READERS = 8

log = structlog.get_logger()

Hear: TypeAlias = Callable[[Sequence[str | End] | None], None]
Listen: TypeAlias = Callable[[Hear], Awaitable[None]]


async def no_figures(_: Callable[[Published], None]) -> None:
    """Of a system that nobody measures."""


def create_app(
    core: Core, listen: Listen, waiters: Waiters | None = None, listen_figures: sockets.Listen = no_figures
) -> Starlette:
    """The application; `listen` calls back with the news of finished tasks, for ever; see `Waiters.hear`.

    `listen_figures` does so with the newest figures of services.
    """
    waiters = Waiters() if waiters is None else waiters
    readers = ThreadPoolExecutor(READERS, thread_name_prefix="read")

    def enter_as(request: Request, is_new: bool, needs: Role, reach: Reach) -> Principal:
        principal = (core.door.enter if is_new else core.door.stay)(
            presented_in(request.headers),
            address=peer.of_asgi(request.scope, behind_front=core.settings.api.behind_front),
            host=request.headers.get("host", ""),
        )
        if is_new:
            core.door.count(principal)
        allow(principal, needs, reach)
        return principal

    def enter(request: Request, is_new: bool = True) -> Scope:
        return enter_as(request, is_new, Role.VIEWER, Reach.SERVICE).scope

    views = Reading[JobView](lambda scope, task_ids: query.get_many(core.jobs, scope=scope, job_ids=task_ids), readers)
    told = Events(core, readers, enter)
    tails = LogTails(core, readers, enter_as)
    watching = sockets.Sockets(core, readers, listen_figures)

    async def show(request: Request) -> Response:
        task_id = request.path_params["task_id"]
        if not is_id(task_id):
            raise JobNotFound(f"There is no task `{task_id[:64]}`.", id=task_id[:64])
        loop = asyncio.get_running_loop()
        scope = await aside(readers, enter, request)
        asked = task_view.asked(request.query_params.multi_items(), limit_s=core.settings.api.wait_limit_s)
        gone = asyncio.ensure_future(_disconnected(request))
        try:
            view = await waiters.last_view(
                task_id,
                scope=scope,
                wait_s=asked.wait_s,
                read=lambda wanted: views.get(scope, wanted),
                gone=gone,
            )
        finally:
            gone.cancel()
        # The key may have been revoked meanwhile.
        await aside(readers, enter, request, False)
        standing = Standing()
        if view.state is JobState.PENDING:
            standing = await loop.run_in_executor(readers, _stand, core, scope, view)
        cost = None
        if asked.with_cost:
            cost = await loop.run_in_executor(readers, costs.shown_of_job, core, task_id)
        report = None
        if view.state is JobState.RUNNING:
            report = await loop.run_in_executor(readers, progress.of_view, core.progress, view)
        return Response(task_view.render(view, standing, cost, report), media_type=errors.JSON)

    async def healthz(_: Request) -> Response:
        return Response(
            b'{"status":"ok","waiting":%d}' % (len(waiters) + len(told.streams) + len(tails) + len(watching)),
            media_type=errors.JSON,
        )

    checkup = readiness.Checkup({"store": readiness.store, "broker": readiness.broker})

    async def readyz(_: Request) -> Response:
        found = await asyncio.get_running_loop().run_in_executor(None, checkup.look, core)
        found.require_well()
        return Response(orjson.dumps({"status": "ready", "parts": found.parts}), media_type=errors.JSON)

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        def hear(news: Sequence[str | End] | None) -> None:
            waiters.hear(news)
            told.streams.wake([id_of(item) for item in news or ()])

        listening = asyncio.ensure_future(listen(hear))
        listening.add_done_callback(_report)
        yield
        listening.cancel()
        watching.close()
        readers.shutdown(wait=False, cancel_futures=True)

    async def upgrade(_: Request) -> Response:
        raise BadRequest("This path speaks WebSocket: open it as ws:// or wss://.")

    routes: list[BaseRoute] = [Route(f"{base}/tasks/{{task_id}}", show, methods=["GET"]) for base in BASES]
    routes += [Route(f"{base}/tasks/{{task_id}}/events", told.show, methods=["GET"]) for base in BASES]
    for path in ("/services/{service_id}/logs/tail", "/logs/tail"):
        routes += [Route(f"{base}{path}", tails.show, methods=["GET"]) for base in BASES]
    for path in (f"{base}/services/{{service_id}}/monitor" for base in BASES):
        routes += [WebSocketRoute(path, watching.serve), Route(path, upgrade, methods=["GET"])]
    return Starlette(
        routes=[*routes, Route("/healthz", healthz), Route("/readyz", readyz)],
        lifespan=lifespan,
        exception_handlers={PenstockError: _ours, HTTPException: _of_starlette, Exception: _unforeseen},
    )


def _stand(core: Core, scope: Scope, view: JobView) -> Standing:
    return query.standing(core.jobs, scope=scope, view=view)


async def _disconnected(request: Request) -> None:
    """Returns when the client has gone."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _report(listening: "asyncio.Future[None]") -> None:
    """The listener runs for ever; should it ever end, waiters still read the state again by themselves."""
    if not listening.cancelled() and (error := listening.exception()) is not None:
        log.error("listener_ended", exc_info=error)


def _to_response(answer: errors.Answer) -> Response:
    return Response(answer.body, answer.status, answer.headers, media_type=errors.JSON)


async def _ours(_: Request, error: Exception) -> Response:
    if not isinstance(error, PenstockError):
        raise error
    return _to_response(errors.answer(error))


async def _of_starlette(_: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    return _to_response(errors.of_the_server(status))


async def _unforeseen(_: Request, error: Exception) -> Response:
    error_id = new_id()
    log.error("request_failed", error_id=error_id, exc_info=error)
    return _to_response(errors.of_the_server(500, error_id=error_id))
