"""Execute: claimed jobs become one engine call, and its outputs an outcome for each."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from inference.engines.base import Engine
from inference.engines.batcher import join, split
from inference.engines.hooks import Hooks
from inference.errors import EngineFailed, PenstockError
from inference.jobs.model import ClaimedJob, JobState, Outcome
from inference.jobs.retry import after_error
from inference.settings import JobsSettings
from inference.tensors import Array, to_json, unpack

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
        parts = [unpack(job.payload) for job in jobs]
        inputs = join([hooks.before(part) for part in parts]) if hooks.ragged else hooks.before(join(parts))
        return Batch(jobs=tuple(jobs), inputs=inputs)
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


def run(
    batch: Batch, engine: Engine, hooks: Hooks, *, now_s: Callable[[], float], settings: JobsSettings
) -> list[Outcome]:
    """One outcome per job. A call that fails is repeated in halves, so that only the jobs at fault go down."""
    started_at = now_s()
    outcomes = [
        _failed(job, error, started_at=started_at, now=started_at, size=1, settings=settings)
        for job, error in batch.refused
    ]
    if batch.jobs:
        outcomes += _run(batch.jobs, batch.inputs, engine, hooks, now_s=now_s, settings=settings)
    return outcomes


def _run(
    jobs: Sequence[ClaimedJob],
    inputs: dict[str, Array],
    engine: Engine,
    hooks: Hooks,
    *,
    now_s: Callable[[], float],
    settings: JobsSettings,
) -> list[Outcome]:
    started_at = now_s()
    try:
        outputs = split(hooks.after(engine.run(inputs)), [job.rows for job in jobs])
        answers = [to_json(part) for part in outputs]
    except Exception as error:
        if len(jobs) == 1:
            return [_failed(jobs[0], _ours(error), started_at=started_at, now=now_s(), size=1, settings=settings)]
        return _run_halves(jobs, inputs, engine, hooks, now_s=now_s, settings=settings)
    ended_at = now_s()
    return [
        Outcome(
            job=job,
            state=JobState.COMPLETED,
            started_at=started_at,
            ended_at=ended_at,
            batch_size=len(jobs),
            result=answer,
        )
        for job, answer in zip(jobs, answers, strict=True)
    ]


def _run_halves(
    jobs: Sequence[ClaimedJob],
    inputs: dict[str, Array],
    engine: Engine,
    hooks: Hooks,
    *,
    now_s: Callable[[], float],
    settings: JobsSettings,
) -> list[Outcome]:
    middle = len(jobs) // 2
    rows = sum(job.rows for job in jobs[:middle])
    outcomes: list[Outcome] = []
    for half, cut in ((jobs[:middle], slice(None, rows)), (jobs[middle:], slice(rows, None))):
        part = {name: array[cut] for name, array in inputs.items()}
        outcomes += _run(half, part, engine, hooks, now_s=now_s, settings=settings)
    return outcomes


def _ours(error: Exception) -> PenstockError:
    if isinstance(error, PenstockError):
        return error
    return EngineFailed(f"{type(error).__name__}: {error}")


def _failed(
    job: ClaimedJob, error: PenstockError, *, started_at: float, now: float, size: int, settings: JobsSettings
) -> Outcome:
    following = after_error(
        error,
        attempt=job.attempt,
        max_attempts=job.max_attempts,
        dice=random.random(),  # noqa: S311 - jitter, not a secret
        base_s=settings.retry_base_s,
        cap_s=settings.retry_cap_s,
    )
    return Outcome(
        job=job,
        state=following.state,
        started_at=started_at,
        ended_at=now,
        batch_size=size,
        error_code=error.code,
        error_message=error.message.replace("\0", "")[:MESSAGE_LIMIT],
        delay_s=following.delay_s,
    )
