"""Figures that are dear to count: counted now and then, plus what this process let in since."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from inference.clock import monotonic_s
from inference.errors import StoreUnavailable

log = structlog.get_logger(__name__)

MOST = 10_000
COUNTING_SHARE = 0.02
"""At most this share of the time is spent on counting one figure, however long a count takes."""


@dataclass(frozen=True, slots=True)
class Bound:
    """`of`: key or tenant. `name`: what is counted, a tenant, and a key of it or None for the whole tenant."""

    of: str
    name: tuple[str, str | None]
    limit: float


@dataclass(frozen=True, slots=True)
class Exceeded:
    bound: Bound
    used: float


class _Figure:
    """`used`: as counted, plus what was let in since. `due_at`: when it should be counted anew."""

    __slots__ = ("began_at", "due_at", "is_counting", "took_s", "used")

    def __init__(self, used: float, *, began_at: float, took_s: float, due_at: float) -> None:
        self.used = used
        self.began_at = began_at
        self.took_s = took_s
        self.due_at = due_at
        self.is_counting = False


class Tally:
    """Thread-safe. A figure is up to `every_s` old, and does not know what other processes let in since.

    Only the first call for a tenant or key waits for a count, and one that would be refused (at most every `again_s`);
    all others go on with what is known while a thread counts anew.
    """

    def __init__(self, count: Callable[[str, str | None], float], *, every_s: float, again_s: float = 1.0) -> None:
        self._count = count
        self._every_s = every_s
        self._again_s = again_s
        self._lock = threading.Lock()
        self._counting = threading.Lock()
        self._figures: dict[tuple[str, str | None], _Figure] = {}

    def admit(self, bounds: Sequence[Bound], adding: float) -> Exceeded | None:
        """Adds to each figure, if all bounds hold then; else to none, and says which does not.

        Raises StoreUnavailable.
        """
        if not bounds:
            return None
        now, figures = monotonic_s(), self._figures
        with self._lock:
            found = []
            for bound in bounds:
                figure = figures.get(bound.name)
                if figure is None or now >= figure.due_at or figure.used + adding > bound.limit:
                    break
                found.append(figure)
            else:
                for figure in found:
                    figure.used += adding
                return None
        return self._admit(bounds, adding)

    def _admit(self, bounds: Sequence[Bound], adding: float) -> Exceeded | None:
        """The long way: counts what must be counted first."""
        seen = [self._look(bound, adding) for bound in bounds]
        with self._lock:
            # As they are now: one may have been counted anew since it was looked at.
            figures = [self._figures.get(bound.name, figure) for bound, figure in zip(bounds, seen, strict=True)]
            for bound, figure in zip(bounds, figures, strict=True):
                if figure.used + adding > bound.limit:
                    return Exceeded(bound, figure.used)
            for figure in figures:
                figure.used += adding
        return None

    def give_back(self, bounds: Sequence[Bound], amount: float) -> None:
        """What was admitted did not come after all."""
        with self._lock:
            for bound in bounds:
                if (figure := self._figures.get(bound.name)) is not None:
                    figure.used -= amount

    def reached(self, bounds: Sequence[Bound]) -> Exceeded | None:
        """The bound that has nothing left. Raises StoreUnavailable."""
        for bound in bounds:
            if (used := self.used(bound)) >= bound.limit:
                return Exceeded(bound, used)
        return None

    def used(self, bound: Bound) -> float:
        """What is known of it. Raises StoreUnavailable."""
        figure = self._figures.get(bound.name)
        if figure is not None and monotonic_s() < figure.due_at and figure.used < bound.limit:
            return figure.used
        return self._look(bound, 0).used

    def _look(self, bound: Bound, adding: float) -> _Figure:
        figure = self._figures.get(bound.name)
        if figure is None:
            return self._count_now(bound.name, None)
        now = monotonic_s()
        soon_s = max(self._again_s, min(figure.took_s / COUNTING_SHARE, self._every_s))
        if figure.used + adding > bound.limit and now - figure.began_at >= soon_s:
            return self._count_now(bound.name, figure)
        if now >= figure.due_at and not figure.is_counting:
            figure.is_counting = True
            threading.Thread(target=self._count_later, args=(bound.name, figure), name="tally", daemon=True).start()
        return figure

    def _count_now(self, name: tuple[str, str | None], known: _Figure | None) -> _Figure:
        with self._counting:
            if (found := self._figures.get(name)) is not None and found is not known:
                return found
            return self._read(name, found)

    def _count_later(self, name: tuple[str, str | None], known: _Figure) -> None:
        try:
            with self._counting:
                self._read(name, known)
        except StoreUnavailable as error:
            log.warning("not_counted", reason=error.message)
            known.due_at = monotonic_s() + self._again_s
            known.is_counting = False

    def _read(self, name: tuple[str, str | None], known: _Figure | None) -> _Figure:
        """What was let in while the count ran may be in it or not; it counts as not, to be safe."""
        began_at, before = monotonic_s(), known.used if known is not None else 0.0
        used = self._count(*name)
        took_s = monotonic_s() - began_at
        due_at = began_at + max(self._every_s, took_s / COUNTING_SHARE)
        figure = _Figure(used, began_at=began_at, took_s=took_s, due_at=due_at)
        with self._lock:
            if known is not None:
                figure.used += max(0.0, known.used - before)
            if len(self._figures) >= MOST:
                self._figures.clear()
            self._figures[name] = figure
        return figure
