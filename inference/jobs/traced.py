"""What a drain tells of traced jobs: how long each waited, ran and was written; and which jobs a batch was made of."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext

from inference.jobs.express_model import ExpressJob
from inference.jobs.model import Claimant, ClaimedJob, Moved, Outcome
from inference.jobs.trace import trace_of
from inference.tracing import Context, Kind, Span, Tracer, Value, entered

_NOTHING = nullcontext()


class NoTraces:
    """Of an instance of which nobody wants to know: every call returns at once."""

    def begin(self) -> None:
        """A statement begins that claims or finishes."""

    def claimed(self, jobs: Sequence[ClaimedJob]) -> None:
        """The statement that began last has claimed them."""

    def within(self, _jobs: Sequence[ClaimedJob]) -> AbstractContextManager[None]:
        """While they are at the engine: what is logged then belongs to their trace, if all are of one."""
        return _NOTHING

    def ran(self, outcomes: Sequence[Outcome]) -> None:
        """One batch is done."""

    def finished(self, outcomes: Sequence[Outcome], moved: Mapping[str, Moved]) -> None:
        """The transaction that began last wrote them. What it did not move was fenced: another attempt has the job."""

    def answered(self, outcomes: Sequence[Outcome]) -> None:
        """The answers of predictions are on their way."""


class DrainTraces(NoTraces):
    """Of one instance. Jobs that are not traced cost a look at how their metadata begins."""

    def __init__(self, tracer: Tracer, by: Claimant) -> None:
        self._tracer = tracer
        self._began_s = 0.0
        self._engine: dict[str, Value] = {
            "penstock.service_id": by.service_id,
            "penstock.worker": by.worker,
            "penstock.model_version": by.model_version,
        }

    def begin(self) -> None:
        self._began_s = self._tracer.now_s()

    def claimed(self, jobs: Sequence[ClaimedJob]) -> None:
        if not jobs:
            return
        ended_s = self._tracer.now_s()
        for job in jobs:
            if (trace := trace_of(job.metadata_json)) is not None:
                self._record("claim", trace, self._began_s, ended_s, {"penstock.attempt": job.attempt})

    def within(self, jobs: Sequence[ClaimedJob]) -> AbstractContextManager[None]:
        traces = {trace_of(job.metadata_json) for job in jobs}
        trace = traces.pop() if len(traces) == 1 else None
        return _NOTHING if trace is None else entered(trace)

    def ran(self, outcomes: Sequence[Outcome]) -> None:
        """Each job has a span in its own trace; the batch is a trace of its own, linked to those."""
        runs = list[Context]()
        batch, began_s, ended_s = self._tracer.root(), float("inf"), 0.0
        for outcome in outcomes:
            job = outcome.job
            if (trace := trace_of(job.metadata_json)) is None:
                continue
            waited = {"penstock.priority": job.priority, "penstock.attempt": job.attempt}
            self._record("queue", trace, job.submitted_at, job.claimed_at, waited)
            run = self._tracer.child(trace)
            runs.append(run)
            began_s, ended_s = min(began_s, outcome.started_at), max(ended_s, outcome.ended_at)
            self._tracer.record(
                Span(
                    name="run",
                    context=run,
                    parent_id=trace.span_id,
                    kind=Kind.CONSUMER,
                    began_s=outcome.started_at,
                    ended_s=outcome.ended_at,
                    attributes={**self._engine, **_told(outcome), "penstock.batch_size": outcome.batch_size},
                    links=(batch,),
                    error=outcome.error_code,
                )
            )
        if runs:
            attributes = {**self._engine, "penstock.tasks": len(outcomes), "penstock.traced": len(runs)}
            self._tracer.record(
                Span(
                    name="batch",
                    context=batch,
                    kind=Kind.CONSUMER,
                    began_s=began_s,
                    ended_s=ended_s,
                    attributes=attributes,
                    links=runs,
                )
            )

    def finished(self, outcomes: Sequence[Outcome], moved: Mapping[str, Moved]) -> None:
        ended_s = self._tracer.now_s()
        for outcome in outcomes:
            if (trace := trace_of(outcome.job.metadata_json)) is not None:
                change = moved.get(outcome.job.id)
                state = "fenced" if change is None else change.state.value
                self._record("finish", trace, self._began_s, ended_s, {"penstock.state": state})

    def answered(self, outcomes: Sequence[Outcome]) -> None:
        """Each was on its way from the end of its engine call until now."""
        now_s = self._tracer.now_s()
        for outcome in outcomes:
            if (trace := trace_of(outcome.job.metadata_json)) is not None:
                self._record("answer", trace, outcome.ended_at, now_s, {})

    def _record(
        self, name: str, trace: Context, began_s: float, ended_s: float, attributes: Mapping[str, Value]
    ) -> None:
        self._tracer.record(
            Span(
                name=name,
                context=self._tracer.child(trace),
                parent_id=trace.span_id,
                began_s=began_s,
                ended_s=ended_s,
                attributes=attributes,
            )
        )


def _told(outcome: Outcome) -> dict[str, Value]:
    job = outcome.job
    return {} if isinstance(job, ExpressJob) else {"penstock.task_id": job.id, "penstock.attempt": job.attempt}


def traces_of(tracer: Tracer | None, by: Claimant) -> NoTraces:
    """What tells of the drains of this instance; nothing where nobody traces."""
    return NoTraces() if tracer is None else DrainTraces(tracer, by)
