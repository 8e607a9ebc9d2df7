"""Synchronous predictions in the asynchronous process: asked through the express lane, waited for on the loop."""

import asyncio
import contextlib
import time
from urllib.parse import parse_qsl

from api import context, errors, prediction
from api.live.fast import Call, Fast, Route
from api.live.submit import Submits
from api.schemas import task_in
from inference import tracing
from inference.access.model import Scope
from inference.core import Core
from inference.errors import NotFound, PenstockError, Unavailable
from inference.jobs.express import not_running
from inference.jobs.express_model import Asked
from inference.redisio.express_asker import Asker
from inference.serving.model import ServiceState

OF_SERVICE = r"/api/(?:v1/)?inference/services/([^/]+)/predict/?"
OF_MODEL = r"/v1/models/([^/]+)/predict/?"
LOOK_S = 1.0
"""Whoever waits that long is worth a look whether the service runs still."""
GONE = 499
"""What is noted for a client that went away: nobody reads it."""


class Predicts:
    """The handlers. `submits` takes what is to be a task; `fast` runs aside what cannot be prepared on the loop."""

    def __init__(self, core: Core, submits: Submits, asker: Asker, fast: Fast) -> None:
        self._core = core
        self._submits = submits
        self._asker = asker
        self._aside = fast.aside

    def routes(self) -> tuple[Route, Route]:
        """For `Fast`."""
        limit = self._core.settings.api.body_limit_bytes
        way_out = task_in.UPLOAD_WAY_OUT
        rule = "/services/<service_id>/predict"
        return (
            Route(OF_SERVICE, context.BASE + rule, self.of_service, limit_bytes=limit, way_out=way_out),
            Route(OF_MODEL, "/v1/models/<name>/predict", self.of_model, limit_bytes=limit, way_out=way_out),
        )

    async def of_service(self, call: Call, service_id: str) -> errors.Answer:
        """200 with the prediction, or 202 as a task. Raises what refuses it, and what went wrong."""
        mode, _ = prediction.read_query(_pairs(call), has_version=False)
        return await self._answer(call, service_id, mode)

    async def of_model(self, call: Call, name: str) -> errors.Answer:
        """As `of_service`, by a running service of the model."""
        mode, version = prediction.read_query(_pairs(call), has_version=True)
        service_id = await self._aside(prediction.service_of_model, self._core, call.principal, name, version)
        return await self._answer(call, service_id, mode)

    async def _answer(self, call: Call, service_id: str, mode: str) -> errors.Answer:
        if mode == prediction.ASYNC:
            return await self._submits.submit(call, service_id)
        began, steps = time.perf_counter(), tracing.steps(self._core.jobs.traces)
        asked = await self._aside(prediction.prepare, self._core, call.principal, service_id, call.body)
        if steps is not None:
            steps.done("prepare")
        over: list[PenstockError | None] = []
        told = None
        if asked.kept is None:
            told = await self._asker.ask(
                asked,
                wait_s=prediction.wait_s(asked),
                gone=lambda: asyncio.ensure_future(self._watch(call, asked, over)),
            )
        if told is None and over:
            if (refusal := over[0]) is not None:
                raise refusal
            return errors.Answer(status=GONE, body=b"")
        took_s = time.perf_counter() - began
        return errors.Answer(status=200, body=prediction.answer(told, asked, took_s=took_s, sent_to=service_id))

    async def _watch(self, call: Call, asked: Asked, over: list[PenstockError | None]) -> None:
        """Returns when it is no use to wait on, and says why: None when the client has gone."""
        try:
            while not (await asyncio.wait({call.gone}, timeout=LOOK_S))[0]:
                with contextlib.suppress(Unavailable):
                    service, _ = await self._aside(
                        self._core.jobs.directory.find, Scope(asked.tenant_id), asked.service_id
                    )
                    if service.state is not ServiceState.RUNNING:
                        over.append(not_running(service))
                        return
            over.append(None)
        except NotFound as error:
            over.append(error)
        finally:
            call.gone.cancel()


def _pairs(call: Call) -> list[tuple[str, str]]:
    return parse_qsl(call.query.decode("latin-1"), keep_blank_values=True) if call.query else []
