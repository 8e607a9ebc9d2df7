"""A synchronous prediction from its request to its answer: the same for Flask and for the asynchronous process."""

from collections.abc import Iterable, Mapping

import orjson
from msgspec import UNSET, Raw

from api import query, submission
from api.schemas import task_in
from inference import errors
from inference.access.model import Principal
from inference.core import Core
from inference.errors import InferenceError, InvalidField, NotInTime, PenstockError
from inference.jobs import express
from inference.jobs.express_model import Asked, Told
from inference.registry.query import LATEST

SYNC, ASYNC = "sync", "async"
TASK_ONLY = ("input_ref", "callback_url", "callback_events", "metadata")

_KINDS: Mapping[str, type[PenstockError]] = {
    kind.code: kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, InferenceError) and kind is not InferenceError
}


def read_query(pairs: Iterable[tuple[str, str]], *, has_version: bool) -> tuple[str, str]:
    """Mode and version that a query asks for. Raises UnknownField and InvalidField."""
    said = query.read(pairs, ("mode", "version") if has_version else ("mode",))
    mode = said.get("mode", SYNC)
    if mode not in (SYNC, ASYNC):
        raise InvalidField("`mode` must be sync or async.", field="mode")
    return mode, said.get("version", LATEST)


def service_of_model(core: Core, by: Principal, name: str, version: str) -> str:
    """The id of a running service of the model. Raises ModelNotFound, WrongState, StoreUnavailable."""
    if core.jobs.by_model is None:
        raise errors.ModelNotFound(f"There is no model '{name[:128]}'.", name=name[:128])
    service, _ = core.jobs.by_model.find(by.scope, name, version)
    return service.id


def prepare(core: Core, by: Principal, service_id: str, text: bytes) -> Asked:
    """One prediction, checked, with its place in the queue.

    Raises what is wrong with it, and what `express.prepare` raises.
    """
    submission.known_service(service_id)
    task = task_in.read_task(text)
    for name in TASK_ONLY:
        if _is_written(getattr(task, name)):
            raise InvalidField(f"`{name}` goes with a task: add ?mode=async, or send it to /tasks.", field=name)
    service, model = core.jobs.directory.find(by.scope, service_id)
    spec, stand_in = submission.fitted(core, service, model, lambda fits: submission.specify(core, by, task, fits))
    return express.prepare(
        core.jobs, by=by, service=stand_in or service, spec=spec, most_s=core.settings.api.wait_limit_s
    )


def _is_written(value: object) -> bool:
    return bool(bytes(value)) if isinstance(value, Raw) else value is not UNSET


def answer(told: Told | None, asked: Asked, *, took_s: float, sent_to: str) -> bytes:
    """The body of the 200. Raises what went wrong instead; NotInTime when nothing was told, nor kept.

    `sent_to`: the service that the client named; another one, its fallback, is told as `answered_by`.
    """
    cached = b""
    if asked.kept is not None:
        told = Told(id=asked.id, result=asked.kept.body, model_version=asked.kept.model_version)
        cached = b',"cached":true'
    if told is None:
        raise NotInTime(
            f"The answer did not come within {asked.deadline - asked.submitted_at:g} s; allow more with `timeout_s`, "
            "or send a task, which waits.",
            waited_s=round(took_s, 3),
        )
    if told.result is None:
        kind = _KINDS.get(told.error_code, errors.EngineFailed)
        raise kind(told.error_message)
    by = b"" if asked.service_id == sent_to else b',"answered_by":{"service_id":"%b"}' % asked.service_id.encode()
    return b'{"prediction":%b,"model_version":%b,"latency_ms":%.3f%b%b}' % (
        told.result,
        orjson.dumps(told.model_version),
        took_s * 1000,
        by,
        cached,
    )


def wait_s(asked: Asked) -> float:
    """How long its answer is worth a wait."""
    return asked.deadline - asked.submitted_at
