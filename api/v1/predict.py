"""Synchronous predictions, documented; the front sends them to the live process (api/live/predict.py)."""

import asyncio
import threading
import time

from flask import Response, current_app, request

from api import body, context, prediction
from api.blueprint import Blueprint
from api.documented import READING, by_hand
from api.errors import JSON
from api.ready import Ready
from api.schemas import predict as schemas
from api.schemas import task_in
from api.schemas.tasks import ACCEPTED_EXAMPLE, TaskAccepted
from api.v1 import tasks
from inference import errors
from inference.access.model import Role
from inference.core import Core
from inference.jobs.express_model import Asked, Told
from inference.redisio.express_asker import Asker

EXTENSION = "penstock.asking"

blueprint = Blueprint("predict", __name__, description="Predictions that are waited for")
of_models = Blueprint("predict_by_model", __name__, description="Predictions that are waited for")

ANSWERS = {
    200: ("The prediction", schemas.Predicted, schemas.PREDICTED_EXAMPLE),
    202: ("With `mode=async`: a task", TaskAccepted, ACCEPTED_EXAMPLE),
}
REFUSED = (
    *READING,
    errors.InvalidTensor,
    errors.TooLarge,
    errors.WrongState,
    errors.BacklogFull,
    errors.QuotaExceeded,
    errors.HotUnavailable,
    errors.NotInTime,
)
MODE = ("mode", {"type": "string", "enum": ["sync", "async"], "default": "sync"}, "async: a task, as POST .../tasks")


@blueprint.route("/services/<service_id>/predict", methods=["POST"], needs=Role.SUBMITTER)
@by_hand(
    body={JSON: (schemas.PREDICT, schemas.PREDICT_EXAMPLE)},
    answers=ANSWERS,
    kinds=(*REFUSED, errors.ServiceNotFound),
    query=[MODE],
)
def predict_by_service(service_id: str) -> Response:
    """Predict, and wait for the answer

    Nothing is stored: a prediction that is lost is refused (503, 504), never run again by itself.
    """
    mode, _ = prediction.read_query(request.args.items(multi=True), has_version=False)
    return _predict(service_id, mode)


@of_models.route("/models/<name>/predict", methods=["POST"], needs=Role.SUBMITTER)
@by_hand(
    body={JSON: (schemas.PREDICT, schemas.PREDICT_EXAMPLE)},
    answers=ANSWERS,
    kinds=(*REFUSED, errors.ModelNotFound),
    query=[MODE, ("version", {"type": "string", "default": "latest"}, "Of the versions that run, the highest, or one")],
)
def predict_by_model(name: str) -> Response:
    """Predict with a running service of a model, and wait for the answer"""
    mode, version = prediction.read_query(request.args.items(multi=True), has_version=True)
    return _predict(prediction.service_of_model(context.core(), context.principal(), name, version), mode)


def _predict(service_id: str, mode: str) -> Response:
    if mode == prediction.ASYNC:
        return tasks.submitted(service_id)
    core, by = context.core(), context.principal()
    text = body.read(core.settings.api.body_limit_bytes, task_in.UPLOAD_WAY_OUT)
    began = time.perf_counter()
    asked = prediction.prepare(core, by, service_id, text)
    told = None
    if asked.kept is None:
        told = current_app.extensions.setdefault(EXTENSION, _Asking(core)).ask(asked)
    return Ready.of(prediction.answer(told, asked, took_s=time.perf_counter() - began, sent_to=service_id))


class _Asking:
    """An asker for threads that wait: its loop runs on a thread of its own, begun by the first who asks."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None

    def ask(self, asked: Asked) -> Told | None:
        """As `Asker.ask`."""
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._asker = Asker(self._core.settings, self._core.jobs.bell)
                threading.Thread(target=self._loop.run_forever, name="asking", daemon=True).start()
        asking = self._asker.ask(asked, wait_s=prediction.wait_s(asked))
        return asyncio.run_coroutine_threadsafe(asking, self._loop).result()
