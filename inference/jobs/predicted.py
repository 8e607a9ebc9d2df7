"""Predictions as the sampler counts them: they leave no row, so their engine tells of them, a few times a second."""

import threading
from collections.abc import Sequence

import structlog

from inference.clock import monotonic_s
from inference.errors import HotUnavailable
from inference.jobs.express_model import ExpressJob
from inference.jobs.model import Outcome
from inference.telemetry.ports import SLOTS_PER_S, Figures
from inference.telemetry.sample import Work

log = structlog.get_logger(__name__)

EVERY_S = 0.25
MOST_KEPT = 20
"""Slots that are told again when Redis did not answer: it may have heard, and then they count twice."""


class Predicted:
    """Of one instance. Without figures it counts nothing. `note` may be called while `tell` is."""

    def __init__(self, figures: Figures | None, service_id: str) -> None:
        self._figures = figures
        self._service_id = service_id
        self._works: dict[int, Work] = {}
        self._lock = threading.Lock()
        self._due_at = 0.0

    def note(self, outcomes: Sequence[Outcome]) -> None:
        """Counts these as done."""
        if self._figures is None:
            return
        done: dict[int, list[Outcome]] = {}
        for outcome in outcomes:
            if isinstance(outcome.job, ExpressJob):
                done.setdefault(int(outcome.ended_at * SLOTS_PER_S), []).append(outcome)
        with self._lock:
            for slot, ended in done.items():
                self._add(self._works.setdefault(slot, Work()), ended)

    def tell(self, *, is_over: bool = False) -> None:
        """Tells what was counted, now and then; at the end (`is_over`) at once. What Redis did not take is kept."""
        if self._figures is None or not self._works or not (is_over or monotonic_s() >= self._due_at):
            return
        with self._lock:
            works, self._works = self._works, {}
        self._due_at = monotonic_s() + EVERY_S
        try:
            self._figures.tell_predicted(self._service_id, sorted(works.items()))
        except HotUnavailable as error:
            log.debug("predictions_untold", reason=error.message)
            with self._lock:
                for slot, work in sorted(works.items())[-MOST_KEPT:]:
                    self._works.setdefault(slot, Work()).merge(work)

    def _add(self, work: Work, ended: Sequence[Outcome]) -> None:
        latencies = [max(0.0, one.ended_at - one.job.submitted_at) for one in ended if one.result is not None]
        work.completed += len(latencies)
        work.predictions += len(latencies)
        work.latency_s += sum(latencies)
        work.latencies.add(latencies)
        for one in ended:
            if one.result is None:
                work.failed += 1
                work.errors[one.error_code or "unknown"] += 1
