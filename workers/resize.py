"""Makes a worker larger or smaller while it runs: which children it can do without, and a pool made to fit."""

# Celery's own shrink would end a child whose batch polling began (to the pool it looks idle), and answers ok and does
# nothing while all are busy. So a surplus child is asked, ends its batch, takes nothing more and says so; then it goes.

import threading
from collections.abc import Collection, Mapping
from typing import Any, Protocol

import structlog

from workers.pulse import READY, Field, Phase, Pulse, Record

log = structlog.get_logger(__name__)

SURPLUS = 2.0
"""What IS_STOPPING holds for a child that its worker can do without; 1 when all shall stop."""


def surplus(phases: Mapping[int, Phase], *, leaving: Collection[int], wanted: int) -> list[int]:
    """Which children, by index, should leave besides those that do already: first who has the least in hand.

    `phases`: of the living ones. Loading ones go before idle, idle before working, and of equals the highest index.
    """
    staying = [index for index in phases if index not in leaving]
    by_worth = sorted(staying, key=lambda index: (_WORTH.get(phases[index], 3), -index))
    return by_worth[: max(0, len(staying) - wanted)]


_WORTH = {Phase.EMPTY: 0, Phase.LOAD_FAILED: 0, Phase.LOADING: 1, Phase.IDLE: 2}


class Fit(Protocol):
    """Brings the pool to a size: `PoolFit.fit`, or what a test has in its place."""

    def __call__(self, wanted: int, *, leaving: Collection[int], rested: Collection[int]) -> None: ...


class Sizing:
    """How many children there should be, and who is asked to leave; one thread at a time."""

    def __init__(self, pulse: Pulse, wanted: int) -> None:
        self._pulse = pulse
        self._fitted = self.wanted = wanted

    def tick(self, living: Mapping[int, Record], *, fit: Fit | None) -> None:
        """Asks again at every call until the number is right: a pool that is busy does not shrink when told to."""
        wanted = self._pulse.wanted or self.wanted
        if wanted != self.wanted:
            log.info("worker_resizing", before=self.wanted, wanted=wanted)
            self.wanted = wanted
        leaving = {index for index, record in living.items() if record.get(Field.IS_STOPPING) == SURPLUS}
        staying = len(living) - len(leaving)
        phases = {index: record.phase for index, record in living.items()}
        for index in surplus(phases, leaving=leaving, wanted=wanted):
            living[index].set(Field.IS_STOPPING, SURPLUS)
            leaving.add(index)
        if fit is not None and (leaving or staying != wanted or self._fitted != wanted):
            self._fitted = wanted
            pids = {index: int(living[index].get(Field.PID)) for index in leaving}
            rested = [pid for index, pid in pids.items() if living[index].phase not in READY]
            fit(wanted, leaving=list(pids.values()), rested=rested)


class PoolFit:
    """Brings the pool of a running Celery worker to a size. `fit` may be called from any thread, again and again."""

    def __init__(self, worker: Any) -> None:
        self._worker = worker
        self._lock = threading.Lock()
        self._wish: tuple[int, frozenset[int], frozenset[int]] | None = None
        self._parked: set[int] = set()

    def fit(self, wanted: int, *, leaving: Collection[int], rested: Collection[int]) -> None:
        """`leaving`: pids of children that get no more doorbells; `rested`: those of them that hold nothing any more.

        Done by the worker's own loop, soon; the last call counts. Nothing happens while that loop stands still.
        """
        hub = getattr(self._worker, "hub", None)
        if hub is None:
            return
        with self._lock:
            is_under_way = self._wish is not None
            self._wish = (wanted, frozenset(leaving), frozenset(rested))
        if not is_under_way:
            hub.call_soon(self._apply)

    def _apply(self) -> None:
        with self._lock:
            wish, self._wish = self._wish, None
        pool = getattr(self._worker.pool, "_pool", None)
        if wish is None or pool is None:
            return
        wanted, leaving, rested = wish
        before = pool._processes
        self._park(pool, leaving)
        for child in list(pool._pool):
            if child.pid in rested and not pool._worker_active(child):
                if pool._processes > wanted:
                    pool._processes -= 1
                    pool._putlock.shrink()
                    pool.on_shrink(1)
                child.terminate_controlled()
        if pool._processes < wanted:
            pool.grow(wanted - pool._processes)
        if pool._processes != before:
            self._worker.consumer._update_prefetch_count(pool._processes - before)

    def _park(self, pool: Any, leaving: Collection[int]) -> None:
        """To the pool, who leaves is busy for good: the next doorbell goes to a child that will answer it."""
        parked = {child.inqW_fd for child in pool._pool if child.pid in leaving}
        for fd in self._parked - parked:
            pool._busy_workers.discard(fd)
        pool._busy_workers.update(parked)
        self._parked = parked

        def free(fd: int) -> None:
            if fd not in self._parked:
                pool._busy_workers.discard(fd)

        pool._mark_worker_as_available = free
