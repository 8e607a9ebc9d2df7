"""Every way in which Penstock says no, in one tree.

PenstockError
|-- BadSettings                       the process must not start
|   |-- KeysNeeded                    others could reach it, and nobody would be asked for a key
|-- BadRequest                        the text itself cannot be read
|   |-- MalformedJson, JsonTooDeep, DuplicateKey, UnsupportedMediaType
|-- Invalid                           it can be read, and says something impossible
|   |-- InvalidField, UnknownField, InvalidTensor, ModelInvalid, ModelRunsCode, ModelPathRefused, DataRefused
|   |-- CallbackRefused, InputRefused, InputUnreachable, DigestMismatch, ArchiveInvalid
|-- TooLarge
|-- Unauthenticated                   no key, or one that opens nothing
|-- Denied                            the key is known, and may not do this
|   |-- RoleTooLow, ScopeTooNarrow, HostRefused, CrossOrigin
|-- NotFound
|   |-- JobNotFound, ServiceNotFound, ModelNotFound, DeploymentNotFound, UploadNotFound, RouteNotFound, ResultMissing
|   |-- NodeNotFound, KeyNotFound, TenantNotFound, BudgetNotFound, AlertRuleNotFound, SilenceNotFound, BackupNotFound
|   |-- ReportNotFound, ReportScheduleNotFound
|-- Conflict
|   |-- WrongState, VersionExists, NameExists, IdempotencyMismatch, InUse, AlreadyRunning, RestoreRefused
|-- TooMany
|   |-- BacklogFull, RateLimited, QuotaExceeded, TooManyWrongKeys, TooManyWaiting, BudgetExhausted
|-- Unavailable                       a part is ill; the same call may work later
|   |-- StoreUnavailable, HotUnavailable
|-- NotInTime                         a prediction that was waited for did not come
|-- NoRoom                            disk or pool is full
|-- ReportFailed                      a report could not be made
|   |-- PdfUnavailable
|-- InferenceError                    an attempt went wrong
    |-- EngineFailed, EngineLoadFailed, OutputInvalid, OutOfMemory, InstanceLost, TimedOut, RunStopped, DeadlinePassed

`code` is for programs and never changes once released. `retryable` drives retries.
The core knows no HTTP: `api/errors.py` maps each branch to a status.
"""

import re
from typing import Any, ClassVar


def _snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


class WouldWait(Exception):
    """Asked on the thread of an event loop for what takes a wait: ask again on another thread. Never a client's."""


class PenstockError(Exception):
    """One clear sentence (`message`), a stable `code`, and fields (`details`)."""

    code: ClassVar[str] = "penstock_error"
    retryable: ClassVar[bool] = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "code" not in cls.__dict__:
            cls.code = _snake(cls.__name__)

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.details = details


class BadSettings(PenstockError):
    """A setting is unknown, or its value is impossible."""


class KeysNeeded(BadSettings):
    """Other machines could reach the system, and there is no key yet."""


class BadRequest(PenstockError):
    """The body cannot be read at all."""


class MalformedJson(BadRequest): ...


class JsonTooDeep(BadRequest): ...


class DuplicateKey(BadRequest): ...


class UnsupportedMediaType(BadRequest):
    """`details`: got, the content type or encoding."""


class Invalid(PenstockError):
    """The body can be read, and what it says cannot be."""


class InvalidField(Invalid): ...


class UnknownField(Invalid): ...


class InvalidTensor(Invalid):
    """`details`: tensor, expected, got."""


class ModelInvalid(Invalid):
    """The artefact does not load, or fails its one trial run."""


class ModelRunsCode(Invalid):
    """Loading the artefact would run code of its maker, and nobody has allowed that. `details`: format."""


class ModelPathRefused(Invalid): ...


class CallbackRefused(Invalid):
    """A webhook may not go there: not a public address, or not a URL for it."""


class ArchiveInvalid(Invalid):
    """No archive of the configuration, a damaged one, or one of a newer version. `details`: field."""


class InputRefused(Invalid):
    """An `input_ref` may not be fetched from there: not a public address, or no bucket that may be read."""


class InputUnreachable(Invalid):
    """What an `input_ref` names could not be fetched: not there, not allowed to us, or not in time."""

    retryable = True


class DigestMismatch(Invalid):
    """What arrived is not what the client has a digest of. `details`: said, got."""


class DataRefused(Invalid):
    """The database refuses this row's data (a NUL character, say)."""


class TooLarge(PenstockError):
    """`details`: limit_bytes, size_bytes where known."""


class Unauthenticated(PenstockError):
    """No key was sent, or it is unknown, revoked or expired: which of these is not told."""


class Denied(PenstockError):
    """What the caller may see, and may not do."""


class RoleTooLow(Denied):
    """`details`: role, needed."""


class ScopeTooNarrow(Denied):
    """`details`: reach, needed."""


class HostRefused(Denied):
    """A system without keys answers to this machine's own names only."""


class CrossOrigin(Denied):
    """A page of another site made a browser ask for a change. `details`: origin."""


class NotFound(PenstockError): ...


class JobNotFound(NotFound): ...


class ServiceNotFound(NotFound): ...


class ModelNotFound(NotFound): ...


class DeploymentNotFound(NotFound): ...


class UploadNotFound(NotFound): ...


class RouteNotFound(NotFound): ...


class ResultMissing(NotFound):
    """The row names a content that the blob store of this host does not have. `details`: sha256."""


class KeyNotFound(NotFound): ...


class TenantNotFound(NotFound): ...


class NodeNotFound(NotFound): ...


class BudgetNotFound(NotFound): ...


class AlertRuleNotFound(NotFound): ...


class SilenceNotFound(NotFound): ...


class BackupNotFound(NotFound): ...


class ReportNotFound(NotFound): ...


class ReportScheduleNotFound(NotFound): ...


class Conflict(PenstockError): ...


class WrongState(Conflict):
    """`details`: state, allowed."""


class VersionExists(Conflict): ...


class NameExists(Conflict): ...


class IdempotencyMismatch(Conflict): ...


class InUse(Conflict): ...


class AlreadyRunning(Conflict):
    """Another launcher holds this data folder. `details`: pid, data_dir."""


class RestoreRefused(Conflict):
    """Some objects of the snapshot cannot be restored, and nothing was. `details`: refused, the first of them."""


class TooMany(PenstockError):
    """`details`: retry_after_s and what was exceeded."""

    retryable = True


class BacklogFull(TooMany): ...


class RateLimited(TooMany):
    """Requests per second. `details`: of (key or tenant), limit_per_s."""


class QuotaExceeded(TooMany):
    """`details`: of (key or tenant), quota (bytes_stored, gpu_seconds_per_day, replicas, gpus, gpu_memory_bytes),
    limit, used."""


class BudgetExhausted(TooMany):
    """`details`: of (service or tenant), hard, currency, low_priority, retry_after_s (until the period ends)."""


class TooManyWaiting(TooMany):
    """Long polls and streams of one key or address. `details`: limit."""


class TooManyWrongKeys(TooMany):
    """From one address. `details`: retry_after_s."""


class Unavailable(PenstockError):
    """`details`: part, and retry_after_s."""

    retryable = True


class StoreUnavailable(Unavailable): ...


class HotUnavailable(Unavailable): ...


class NotInTime(PenstockError):
    """The time of a synchronous prediction was over before its answer came. `details`: waited_s, was_started."""

    retryable = True


class NoRoom(PenstockError):
    retryable = True


class ReportFailed(PenstockError):
    """Told in the report itself, never as an answer."""


class PdfUnavailable(ReportFailed):
    """What makes PDF, or a font that the text needs, is not installed."""


class InferenceError(PenstockError): ...


class EngineFailed(InferenceError):
    """The engine refused or failed on this input; running it again would fail again."""


class EngineLoadFailed(InferenceError): ...


class OutputInvalid(InferenceError): ...


class OutOfMemory(InferenceError):
    retryable = True


class InstanceLost(InferenceError):
    """The engine process died, was ended for overrunning, or fell silent while it had the job."""

    retryable = True


class TimedOut(InferenceError):
    """The engine had the job for longer than its `timeout_s`, and was stopped."""

    retryable = True


class RunStopped(InferenceError):
    """The engine call was ended from outside before its time; nobody's fault, and no attempt."""


class DeadlinePassed(InferenceError):
    """The job was not started in time."""
