"""The periodic duties of the control process, in a thread that needs no broker: reconcile, and sweep the jobs."""

import contextlib
from collections.abc import Callable
from pathlib import Path

from inference.clock import monotonic_s
from inference.core import Core
from inference.costs import sample
from inference.jobs import recover
from inference.jobs.cache_upkeep import Upkeep
from inference.scaling.run import Autoscaler
from inference.serving import reconcile
from workers.duty import DutyThread

RECONCILE, SWEEP, COSTS, SCALE, CACHE = "reconcile", "sweep", "costs", "scale", "cache"
SWEEP_S = 1.0
CACHE_S = 10.0
RING_S = 5.0
EARLY = 0.8
"""A duty counts as due a little before its period is over, or each late wake-up would skip one."""


class Ticker(DutyThread):
    """Whose turn it is, the tick table says.

    `beat`: a file that every turn touches, for whoever wonders whether this process hangs.
    """

    def __init__(self, core: Core, *, name: str, beat: Path | None = None) -> None:
        super().__init__("ticker")
        self._core = core
        self._beat = beat
        self._name = name
        self._is_kicked = self._is_scaled = False
        self._autoscaler = Autoscaler(core.scaling, name=name)
        self._rung_at = 0.0
        self._counted_at = float("-inf")
        self._cache = Upkeep(core.jobs, is_mine=lambda: self._mine(CACHE, CACHE_S))
        self._cache_at = monotonic_s() + CACHE_S
        self._away_at = float("-inf")

    def kick(self) -> None:
        """Reconciles at once, whoever has the turn. Returns at once."""
        self._is_kicked = True
        self.wake()

    def turn(self) -> float:
        """Does what is due: a store or broker that is away is asked again in the next turn."""
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
        if monotonic_s() >= self._cache_at:
            self._cache_at = monotonic_s() + CACHE_S
            self._do(CACHE, self._cache.turn)
        if self._beat is not None:
            with contextlib.suppress(OSError):
                self._beat.touch()
        return min(SWEEP_S, self._core.settings.serving.reconcile_s)

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
        if not self.do(duty, work):
            self._away_at = monotonic_s()
