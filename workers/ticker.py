"""The periodic duties of the control process, in a thread that needs no broker: reconcile, and sweep the jobs."""

import contextlib
import threading
from collections.abc import Callable
from pathlib import Path

import structlog

from inference.clock import monotonic_s
from inference.core import Core
from inference.costs import sample
from inference.errors import PenstockError
from inference.jobs import recover
from inference.scaling.run import Autoscaler
from inference.serving import reconcile

log = structlog.get_logger(__name__)

RECONCILE, SWEEP, COSTS, SCALE = "reconcile", "sweep", "costs", "scale"
SWEEP_S = 1.0
RING_S = 5.0
EARLY = 0.8
"""A duty counts as due a little before its period is over, or each late wake-up would skip one."""


class Ticker:
    """Any number of control processes may have one: whose turn it is, the tick table says.

    `beat`: a file that every turn touches, for whoever wonders whether this process hangs.
    """

    def __init__(self, core: Core, *, name: str, beat: Path | None = None) -> None:
        self._core = core
        self._beat = beat
        self._name = name
        self._wake = threading.Event()
        self._is_kicked = self._is_stopping = self._is_scaled = False
        self._autoscaler = Autoscaler(core.scaling, name=name)
        self._rung_at = 0.0
        self._counted_at = float("-inf")
        self._away_at = float("-inf")
        self._ill: set[str] = set()
        self._thread = threading.Thread(target=self._run, name="ticker", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def kick(self) -> None:
        """Reconciles at once, whoever has the turn. Returns at once."""
        self._is_kicked = True
        self._wake.set()

    def stop(self) -> None:
        """Returns when the duty under way, if any, is done; at most after five seconds."""
        self._is_stopping = True
        self._wake.set()
        self._thread.join(5)

    def turn(self) -> None:
        """Does what is due. Never raises: a store or broker that is away is asked again in the next turn."""
        is_kicked, self._is_kicked = self._is_kicked, False
        # First, so that a new target is acted on in the same turn. Whose turn it is, the autoscaler asks itself.
        self._do(SCALE, self._scale)
        is_kicked, self._is_scaled = is_kicked or self._is_scaled, False
        every_s = self._core.settings.serving.reconcile_s
        if is_kicked:
            self._do(RECONCILE, lambda: reconcile.run(self._core.serving))
        else:
            self._do(RECONCILE, lambda: self._mine(RECONCILE, every_s) and reconcile.run(self._core.serving))
        self._do(SWEEP, lambda: self._mine(SWEEP, SWEEP_S) and self._sweep())
        # Whose turn it is, is settled with the sample itself: asked here, it would be by each process every second.
        if monotonic_s() - self._counted_at >= self._core.settings.costs.sample_s:
            self._counted_at = monotonic_s()
            self._do(COSTS, lambda: sample.run(self._core.costs))

    def _run(self) -> None:
        pause_s = min(SWEEP_S, self._core.settings.serving.reconcile_s)
        while not self._is_stopping:
            self.turn()
            if self._beat is not None:
                with contextlib.suppress(OSError):
                    self._beat.touch()
            self._wake.wait(pause_s)
            self._wake.clear()

    def _scale(self) -> None:
        self._is_scaled = self._autoscaler.turn() > 0

    def _mine(self, duty: str, every_s: float) -> bool:
        return self._core.serving.ticks.take(duty, every_s=every_s * EARLY, by=self._name)

    def _sweep(self) -> int:
        now = monotonic_s()
        rings = now - self._rung_at >= RING_S
        if rings:
            self._rung_at = now
        # After an outage leases are over because nobody could renew them: their holders, who live, come first.
        reaps = now - self._away_at > self._core.settings.workers.renew_s
        return recover.sweep(self._core.jobs, rings=rings, reaps=reaps)

    def _do(self, duty: str, work: Callable[[], object]) -> None:
        try:
            work()
        except PenstockError as error:
            if duty not in self._ill:
                log.warning("duty_failed", duty=duty, error=error.message)
            self._ill.add(duty)
            self._away_at = monotonic_s()
        except Exception:
            # The outer edge of the thread: one bad turn must not end all the later ones.
            log.exception("duty_failed", duty=duty)
        else:
            if duty in self._ill:
                log.info("duty_back", duty=duty)
            self._ill.discard(duty)
