"""Tells Flower of each job, one message a batch: Celery's own task events, sent as `task.multi`."""

from collections.abc import Mapping, Sequence
from typing import Any

import structlog

from inference.jobs.model import JobState, Moved, Outcome

log = structlog.get_logger(__name__)

JOB_TASK = "penstock.job"
FAILED = frozenset({JobState.FAILED, JobState.DEAD, JobState.EXPIRED})


class JobEvents:
    """Off unless the settings ask for it. Losing events costs a line in Flower, nothing else."""

    def __init__(self, app: Any, *, hostname: str) -> None:
        self._app = app
        self._hostname = hostname
        self._dispatcher: Any = None

    def send(self, outcomes: Sequence[Outcome], moved: Mapping[str, Moved]) -> None:
        """Received, started and ended, for every job that this batch moved."""
        try:
            if self._dispatcher is None:
                self._dispatcher = self._app.events.Dispatcher(
                    self._app.connection_for_write(),
                    hostname=self._hostname,
                    buffer_group={"task"},
                    buffer_limit=10_000,
                    on_send_buffered=None,
                )
            for outcome in outcomes:
                if outcome.job.id in moved:
                    self._send_one(outcome, moved[outcome.job.id].state)
            self._dispatcher.flush(errors=False, groups=True)
        except Exception as error:
            log.warning("job_events_lost", reason=str(error), jobs=len(outcomes))
            self._dispatcher = None

    def _send_one(self, outcome: Outcome, state: JobState) -> None:
        job, send = outcome.job, self._dispatcher.send
        send(
            "task-received",
            uuid=job.id,
            name=JOB_TASK,
            args=f"(priority={job.priority}, attempt={job.attempt}, batch_size={outcome.batch_size})",
            kwargs="{}",
            retries=job.attempt - 1,
            eta=None,
            timestamp=job.submitted_at,
        )
        send("task-started", uuid=job.id, timestamp=outcome.started_at)
        runtime = outcome.ended_at - outcome.started_at
        if state is JobState.COMPLETED:
            send("task-succeeded", uuid=job.id, result="ok", runtime=runtime, timestamp=outcome.ended_at)
        elif state in FAILED:
            # The code alone: an engine's message may quote its input, and Flower shows all tenants to one operator.
            send(
                "task-failed", uuid=job.id, exception=str(outcome.error_code), traceback="", timestamp=outcome.ended_at
            )
        elif state is JobState.PENDING:
            send("task-retried", uuid=job.id, exception=str(outcome.error_code), traceback="")
        else:
            send("task-revoked", uuid=job.id, terminated=False, signum=None, expired=False)
