"""A task from its request's body to what is committed: the same for Flask and for the asynchronous process."""

import hashlib
from collections.abc import Callable, Sequence
from typing import TypeVar

from api import context
from api.schemas import task_in
from inference import clock, errors, waiting
from inference.access.model import Principal
from inference.core import Core
from inference.ids import is_id
from inference.jobs import inputs, submit
from inference.jobs.model import Accepted, JobSpec, Submission
from inference.notify import guard
from inference.registry.model import ModelVersion
from inference.serving.model import Service

T = TypeVar("T")

KEY = "Idempotency-Key"
MAX_KEY = 255
FETCHED = ("http://", "https://", "s3://")
LOST = (errors.UploadNotFound, errors.InputRefused, errors.InputUnreachable)
"""What an input by reference may come to: it was there, perhaps, when the key was new."""


def prepare(core: Core, by: Principal, service_id: str, text: bytes, key: str | None) -> Submission:
    """One task, checked, with its place in the queue. `key`: the Idempotency-Key, None without one.

    Raises what is wrong with it, and what `submit.prepare` raises.
    """
    known_service(service_id)
    task = task_in.read_task(text)
    service, model = core.jobs.directory.find(by.scope, service_id)
    known, body_hash = idempotency(key, service_id, text)
    refusal: errors.PenstockError | None = None
    stand_in: Service | None = None
    content = Content(core, by)
    try:
        spec, stand_in = fitted(
            core, service, model, lambda fits: specify(core, by, task, fits, is_keyed=key is not None, content=content)
        )
    except LOST as error:
        if key is None:
            raise
        spec, refusal = JobSpec(payload=b"", rows=1, bucket=""), error
    return submit.prepare(
        core.jobs,
        by=by,
        service_id=service_id,
        specs=(spec,),
        idempotency_key=known,
        body_hash=body_hash,
        refusal=refusal,
        stand_in=stand_in,
    )


def fitted(
    core: Core, service: Service, model: ModelVersion, specify: Callable[[ModelVersion], T]
) -> tuple[T, Service | None]:
    """What is to run, made for the model that will run it; with the fallback of the service that takes it, if one does.

    It must be right for the service that was asked, and what does not fit its fallback stays with it. Raises what
    `specify` raises for its own model.
    """
    own = specify(model)
    if service.config.fallback_service_id is None or core.jobs.fallbacks is None:
        return own, None
    if (found := core.jobs.fallbacks.find(service)) is None:
        return own, None
    other, its_model = found
    if its_model.signature.inputs == model.signature.inputs:
        return own, other
    try:
        return specify(its_model), other
    except errors.Invalid:
        return own, None


def known_service(service_id: str) -> None:
    """Raises ServiceNotFound for what cannot be the id of any."""
    if not is_id(service_id):
        raise errors.ServiceNotFound(f"There is no service `{service_id[:64]}`.", id=service_id[:64])


def specify(
    core: Core,
    by: Principal,
    task: task_in.TaskIn,
    model: ModelVersion,
    *,
    priority: int = 0,
    is_keyed: bool = False,
    content: "Content | None" = None,
) -> JobSpec:
    """The checked job that a task stands for. Raises what is wrong with it."""
    options = task_in.checked(task, priority=priority, may_call=may_call(core, by), is_keyed=is_keyed)
    signature, is_inline = model.signature.inputs, bool(task.input_data)
    if is_inline == isinstance(task.input_ref, str):
        what = "stand both" if is_inline else "are both missing"
        raise errors.InvalidField(f"`input_data` and `input_ref` {what}; give one.", field="input_data")
    if is_inline:
        limit = core.settings.api.inline_limit_bytes
        return task_in.spec(task_in.parse_input(task.input_data, signature, limit_bytes=limit), options)
    return task_in.spec(
        inputs.parse_file((content or Content(core, by)).of(str(task.input_ref)), inputs=signature), options
    )


def may_call(core: Core, by: Principal) -> Callable[[], Sequence[guard.Network]]:
    """What a webhook of this caller may reach though it is not public; worked out when a task has one."""
    return lambda: guard.reach(core.settings.notify.allowed_networks, is_open=by.key_id is None)


def idempotency(key: str | None, service_id: str, text: bytes) -> tuple[str | None, bytes]:
    """Key and hash of a request, as `submit` wants them; (None, b"") without a key. Raises InvalidField."""
    if key is None:
        return None, b""
    if not 0 < len(key) <= MAX_KEY or not key.isascii() or not key.isprintable():
        raise errors.InvalidField(
            f"The header Idempotency-Key must be 1 to {MAX_KEY} printable ASCII characters.", field="Idempotency-Key"
        )
    return key, hashlib.sha256(service_id.encode() + b"\n" + text).digest()


def base_of(path: str) -> str:
    """The base path under which a request came."""
    return context.ALIAS if path.startswith(context.ALIAS) else context.BASE


def accepted(answer: Accepted, base: str) -> tuple[bytes, str]:
    """The body of the 202, and the Location of the task."""
    task_id, created_at = answer.job_ids[0], clock.iso(answer.created_at)
    state = '"status":"completed","cached":true' if answer.cached_ids else '"status":"pending"'
    body = f'{{"task_id":"{task_id}",{state},"created_at":"{created_at}"}}'
    return body.encode(), f"{base}/tasks/{task_id}"


class Content:
    """What the `input_ref` of one task names; read once, though two models may want to see it."""

    def __init__(self, core: Core, by: Principal) -> None:
        self._core = core
        self._by = by
        self._read: tuple[str, bytes] | None = None

    def of(self, reference: str) -> bytes:
        """Raises InvalidField, UploadNotFound, InputRefused, InputUnreachable, TooLarge, TooManyWaiting; WouldWait."""
        if self._read is None or self._read[0] != reference:
            self._read = reference, self._get(reference)
        return self._read[1]

    def _get(self, reference: str) -> bytes:
        fetch = self._core.registry.fetch
        if reference.startswith(FETCHED) and fetch is not None:
            waiting.refuse_on_loop()
            is_open = self._by.key_id is None
            return fetch(reference, is_open=is_open, limit_bytes=inputs.REFERENCE_LIMIT_BYTES)
        kind, _, upload_id = reference.partition(":")
        if kind != "upload" or not upload_id:
            raise errors.InvalidField(
                "`input_ref` must be `upload:<upload_id>`, an http:// or https:// URL, or s3://bucket/key.",
                field="input_ref",
            )
        return _uploaded(self._core, self._by, upload_id)


def _uploaded(core: Core, by: Principal, upload_id: str) -> bytes:
    if not is_id(upload_id):
        raise errors.UploadNotFound(f"There is no upload `{upload_id[:64]}`.", id=upload_id[:64])
    blob = core.registry.uploads.get(by.scope.tenant_id, upload_id)
    if blob.size_bytes > inputs.REFERENCE_LIMIT_BYTES:
        raise errors.TooLarge(
            f"The uploaded input is {blob.size_bytes} bytes; at most {inputs.REFERENCE_LIMIT_BYTES} are accepted.",
            limit_bytes=inputs.REFERENCE_LIMIT_BYTES,
            size_bytes=blob.size_bytes,
        )
    return core.registry.blobs.path(blob.key).read_bytes()
