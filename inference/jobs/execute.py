"""Execute: claimed jobs become one engine call, and its outputs an outcome for each."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from inference.clock import monotonic_s
from inference.engines.base import Engine
from inference.engines.batcher import join, split
from inference.engines.hooks import Hooks
from inference.errors import EngineFailed, OutputInvalid, PenstockError, RunStopped, TimedOut
from inference.jobs.model import ClaimedJob, JobState, Outcome
from inference.jobs.retry import after_error
from inference.settings import JobsSettings
from inference.tensors import Array, NanPolicy, to_json, unpack, unpack_joined

MESSAGE_LIMIT = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Jobs ready for the engine. `refused`: those whose payload did not come through the hooks, with the reason."""

    jobs: tuple[ClaimedJob, ...]
    inputs: dict[str, Array]
    refused: tuple[tuple[ClaimedJob, PenstockError], ...] = ()


def prepare(jobs: Sequence[ClaimedJob], hooks: Hooks) -> Batch:
    """Decodes and joins. A payload that cannot be used is set apart and harms no other."""
    try:
        payloads = [job.payload for job in jobs]
        if hooks.ragged:
            return Batch(jobs=tuple(jobs), inputs=join([hooks.before(unpack(payload)) for payload in payloads]))
        return Batch(jobs=tuple(jobs), inputs=hooks.before(unpack_joined(payloads)))
    except Exception as error:
        if len(jobs) == 1:
            return Batch(jobs=(), inputs={}, refused=((jobs[0], _ours(error)),))
    parts, good = list[dict[str, Array]](), list[ClaimedJob]()
    refused = list[tuple[ClaimedJob, PenstockError]]()
    for job in jobs:
        alone = prepare([job], hooks)
        refused.extend(alone.refused)
        if alone.jobs:
            good.append(job)
            parts.append(alone.inputs)
    return Batch(jobs=tuple(good), inputs=join(parts) if parts else {}, refused=tuple(refused))


def no_limit(_jobs: Sequence[ClaimedJob]) -> float:
    """A `begin` for calls that nobody watches."""
    return float("inf")


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """How a batch is run.

    `begin` is told before each engine call which jobs it has, and says how many seconds it may take.
    """

    engine: Engine
    hooks: Hooks
    now_s: Callable[[], float]
    settings: JobsSettings
    begin: Callable[[Sequence[ClaimedJob]], float] = no_limit
    nan_policy: NanPolicy = NanPolicy.NULL


def run(batch: Batch, call: Call) -> list[Outcome]:
    """One outcome per job. A call that fails is repeated in halves, so that only the jobs at fault go down.

    A call that was stopped from outside after its time counts as failed; one that was stopped earlier leaves its jobs
    without an outcome: they are to be given back, as they came.
    """
    started_at = call.now_s()
    outcomes = [_failed(job, error, call, started_at=started_at) for job, error in batch.refused]
    if batch.jobs:
        outcomes += _run(batch.jobs, batch.inputs, call)
    return outcomes


def _run(jobs: Sequence[ClaimedJob], inputs: dict[str, Array], call: Call) -> list[Outcome]:
    started_at, began, limit_s = call.now_s(), monotonic_s(), call.begin(jobs)
    try:
        outputs = split(call.hooks.after(call.engine.run(inputs)), [job.rows for job in jobs])
        answers = [_answer(part, call.nan_policy) for part in outputs]
    except Exception as error:
        if isinstance(error, RunStopped) and monotonic_s() - began < limit_s:
            return []
        if len(jobs) == 1:
            return [_failed(jobs[0], _ours(error, limit_s), call, started_at=started_at)]
        return _run_halves(jobs, inputs, call)
    ended_at = call.now_s()
    return [
        _failed(job, answer, call, started_at=started_at)
        if isinstance(answer, OutputInvalid)
        else Outcome(
            job=job,
            state=JobState.COMPLETED,
            started_at=started_at,
            ended_at=ended_at,
            batch_size=len(jobs),
            result=answer,
        )
        for job, answer in zip(jobs, answers, strict=True)
    ]


def _answer(part: dict[str, Array], nan_policy: NanPolicy) -> bytes | OutputInvalid:
    """An output that may not be told is its own job's failure; to run its mates again would help nobody."""
    try:
        return to_json(part, nan_policy)
    except OutputInvalid as error:
        return error


def _run_halves(jobs: Sequence[ClaimedJob], inputs: dict[str, Array], call: Call) -> list[Outcome]:
    middle = len(jobs) // 2
    rows = sum(job.rows for job in jobs[:middle])
    outcomes: list[Outcome] = []
    for half, cut in ((jobs[:middle], slice(None, rows)), (jobs[middle:], slice(rows, None))):
        part = {name: array[cut] for name, array in inputs.items()}
        outcomes += _run(half, part, call)
    return outcomes


def _ours(error: Exception, limit_s: float = float("inf")) -> PenstockError:
    if isinstance(error, RunStopped):
        return TimedOut(f"The engine had the task for longer than {limit_s:g} s, and was stopped.", limit_s=limit_s)
    if isinstance(error, PenstockError):
        return error
    return EngineFailed(f"{type(error).__name__}: {error}")


def _failed(job: ClaimedJob, error: PenstockError, call: Call, *, started_at: float) -> Outcome:
    """Of an attempt that had the engine to itself, or did not come that far."""
    following = after_error(
        error,
        attempt=job.attempt - job.crashes,
        max_attempts=job.max_attempts,
        dice=random.random(),  # noqa: S311 - jitter, not a secret
        base_s=call.settings.retry_base_s,
        cap_s=call.settings.retry_cap_s,
    )
    return Outcome(
        job=job,
        state=following.state,
        started_at=started_at,
        ended_at=call.now_s(),
        batch_size=1,
        error_code=error.code,
        error_message=error.message.replace("\0", "")[:MESSAGE_LIMIT],
        delay_s=following.delay_s,
    )
