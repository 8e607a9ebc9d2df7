"""What the node agent does about one replica: figures in, step out."""

from dataclasses import dataclass
from enum import Enum, auto

from inference.serving.model import Desired, Observed, Replica
from inference.settings import Settings

FIRST_DELAY_S = 0.2
HEALTHY_S = 5.0


class Step(Enum):
    WAIT = auto()
    START = auto()
    STOP = auto()
    KILL = auto()
    RESTART = auto()
    FORGET = auto()
    SETTLE = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """`asked_s`: seconds since it was asked to stop; None if it was not. `silent_s`: since its worker last reported.

    `due_in_s`: seconds until it may be started again.
    """

    is_running: bool
    asked_s: float | None = None
    silent_s: float = 0.0
    due_in_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    stop_grace_s: float
    silence_s: float
    load_deadline_s: float


def limits(settings: Settings) -> Limits:
    return Limits(
        stop_grace_s=settings.workers.stop_grace_s,
        silence_s=settings.serving.replica_silence_s,
        load_deadline_s=settings.serving.load_deadline_s,
    )


def decide(row: Replica | None, figures: Figures, limits: Limits) -> Step:
    """`row`: None when the replica is no longer this node's.

    SETTLE: nothing runs, and the row does not say so yet. RESTART: kill what is silent; it comes back by itself.
    """
    is_wanted = row is not None and row.desired is Desired.RUNNING
    if figures.is_running:
        if figures.asked_s is not None:
            return Step.KILL if figures.asked_s >= limits.stop_grace_s else Step.WAIT
        if row is None or not is_wanted:
            return Step.STOP
        limit = limits.silence_s + (limits.load_deadline_s if row.observed is not Observed.READY else 0)
        return Step.RESTART if figures.silent_s >= limit else Step.WAIT
    if row is None:
        return Step.FORGET
    if is_wanted:
        return Step.WAIT if row.observed is Observed.FAILED or figures.due_in_s > 0 else Step.START
    return Step.WAIT if row.observed in (Observed.STOPPED, Observed.FAILED, Observed.PENDING) else Step.SETTLE


def restart_delay_s(before_s: float, *, lived_s: float, cap_s: float) -> float:
    """None after a healthy life, then 0.2 s, then twice the last wait up to the cap."""
    if lived_s >= HEALTHY_S:
        return 0.0
    return min(before_s * 2, cap_s) if before_s > 0 else FIRST_DELAY_S
