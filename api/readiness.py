"""Which part is ill, why and since when: the checks run beside one another, and none is waited for very long."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from inference.clock import epoch_s, iso, monotonic_s
from inference.core import Core
from inference.errors import PenstockError, Unavailable

LIMIT_S = 1.0
TICK = "reconcile"
TICK_SILENCE_S = 10.0
OK = "ok"


@dataclass(frozen=True, slots=True)
class Ill:
    """`for_s`: how long it has been so already, where the check knows."""

    why: str
    for_s: float = 0.0


Check: TypeAlias = Callable[[Core], Ill | None]


@dataclass(frozen=True, slots=True)
class Finding:
    """`parts`: `ok` or a sentence, by name. `since`: for those that are ill, ISO 8601."""

    parts: dict[str, str]
    since: dict[str, str]

    def require_well(self) -> None:
        """Raises Unavailable, which names all that is ill."""
        ill = {name: why for name, why in self.parts.items() if why != OK}
        if ill:
            named = "; ".join(f"{name}: {why}" for name, why in ill.items())
            raise Unavailable(f"Not ready: {named}", part=next(iter(ill)), parts=self.parts, since=self.since)


class Round:
    """One check under way. Whoever asks meanwhile waits for the same answer: what hangs takes one thread."""

    def __init__(self, name: str, check: Check, core: Core) -> None:
        self._check, self._core = check, core
        self.began = monotonic_s()
        self._is_over = threading.Event()
        self._found: Ill | None = None
        threading.Thread(target=self._run, name=f"check-{name}", daemon=True).start()

    def _run(self) -> None:
        try:
            self._found = self._check(self._core)
        except PenstockError as error:
            self._found = Ill(error.message)
        except Exception as error:
            # An outer edge: a probe never fails for want of an answer.
            self._found = Ill(f"{type(error).__name__}: {error}")
        finally:
            self._is_over.set()

    @property
    def is_over(self) -> bool:
        return self._is_over.is_set()

    def answer(self, limit_s: float) -> Ill | None:
        if self._is_over.wait(max(0.0, limit_s)):
            return self._found
        silent_s = monotonic_s() - self.began
        return Ill(f"No answer within {max(silent_s, limit_s):.0f} s.", silent_s)


class Checkup:
    """Remembers since when a part is ill, as far as this process has asked. Thread-safe."""

    def __init__(self, checks: Mapping[str, Check], *, limit_s: float = LIMIT_S) -> None:
        self._checks = checks
        self._limit_s = limit_s
        self._lock = threading.Lock()
        self._rounds: dict[str, Round] = {}
        self._ill_since: dict[str, float] = {}

    def look(self, core: Core) -> Finding:
        """What is ill now. Blocks `limit_s` at most, never raises."""
        rounds = {name: self._round(name, core) for name in self._checks}
        deadline = monotonic_s() + self._limit_s
        found = {name: under_way.answer(deadline - monotonic_s()) for name, under_way in rounds.items()}
        now, since = epoch_s(), dict[str, str]()
        with self._lock:
            for name, ill in found.items():
                if ill is None:
                    self._ill_since.pop(name, None)
                else:
                    begun = now - ill.for_s
                    known = self._ill_since.setdefault(name, begun)
                    self._ill_since[name] = (
                        begun if begun < known - LIMIT_S else known
                    )  # two clocks are never quite at one
                    since[name] = iso(self._ill_since[name]) or ""
        return Finding({name: OK if ill is None else ill.why for name, ill in found.items()}, since)

    def _round(self, name: str, core: Core) -> Round:
        with self._lock:
            under_way = self._rounds.get(name)
            if under_way is None or under_way.is_over:
                under_way = self._rounds[name] = Round(name, self._checks[name], core)
            return under_way


def store(core: Core) -> Ill | None:
    """Raises when the database does not answer."""
    core.ping_store()
    return None


def broker(core: Core) -> Ill | None:
    """Raises when Redis does not answer."""
    core.ping_redis()
    return None


def control(core: Core) -> Ill | None:
    """Whether some control process has reconciled lately."""
    age_s = core.serving.ticks.age_s(TICK)
    if age_s is None:
        return Ill("The control worker has never run; start it (`penstock up`, or the role control).")
    if age_s > TICK_SILENCE_S:
        return Ill(f"The control worker was last heard {age_s:.0f} s ago; see its log.", age_s)
    return None


def node(core: Core) -> Ill | None:
    """Whether some node was heard lately."""
    nodes = core.serving.nodes.list(silence_s=core.settings.serving.node_silence_s)
    if any(node.is_alive for node in nodes):
        return None
    return Ill(
        f"None of {len(nodes)} nodes was heard lately; see the log of the role node."
        if nodes
        else "No node has ever reported."
    )
