"""Answers of predictions that are to be kept: gathered by their instance, and written a few times a second."""

import threading
from collections.abc import Sequence

import structlog

from inference.clock import monotonic_s
from inference.errors import NoRoom, Unavailable
from inference.jobs.cache import are_shared, keep_for
from inference.jobs.model import Claimant, Outcome
from inference.jobs.ports import JobPorts

log = structlog.get_logger(__name__)

EVERY_S = 0.25
MOST = 500
"""That many wait to be written at most; what comes while the database is away is not kept."""


class KeptAnswers:
    """Of one instance. `note` may be called while `put` is. Of equal inputs the last answer is kept."""

    def __init__(self, ports: JobPorts, by: Claimant) -> None:
        self._ports = ports
        self._by = by
        self._waiting: dict[str, Outcome] = {}
        self._lock = threading.Lock()
        self._due_at = 0.0

    def note(self, outcomes: Sequence[Outcome]) -> None:
        """Of these, what completed and has a key of its input."""
        for outcome in outcomes:
            key = outcome.job.input_key
            if key is not None and outcome.result is not None and are_shared(self._by, key):
                with self._lock:
                    if len(self._waiting) < MOST:
                        self._waiting[key] = outcome

    def put(self, *, is_over: bool = False) -> None:
        """Writes what was noted, now and then; at the end (`is_over`) at once. Never raises for what is away."""
        if not self._waiting or self._ports.cache is None or not (is_over or monotonic_s() >= self._due_at):
            return
        with self._lock:
            waiting, self._waiting = list(self._waiting.values()), {}
        self._due_at = monotonic_s() + EVERY_S
        keep = keep_for(self._ports.directory, waiting[0].job.tenant_id, self._by, waiting)
        if keep is None:
            return
        try:
            self._ports.cache.put(self._by, waiting, keep)
        except (Unavailable, NoRoom) as error:
            log.warning("answers_not_kept", reason=error.message, count=len(waiting))
