"""The policy `slo_drain`: enough instances that every job is done within the objective, and no more for long.

The largest of these counts: what drains the backlog inside the objective while jobs go on coming, what the recent rate
needs, what the forecast says for the moment at which an instance asked for now would be ready, what was needed within
the hold-down, what a schedule asks for, and, where an instance cannot start within the objective, room for the largest
burst that came lately. docs/autoscaling.md explains each.
"""

import dataclasses
import math
from dataclasses import dataclass

from inference.scaling import forecast, peaks, schedules
from inference.scaling.erlang import staff
from inference.scaling.model import Decision, Limits, Memory, Signals

LATE = 0.005
"""The share of jobs that may miss the objective by chance while the rate is steady."""
VARIABILITY_MAX = 4.0
"""A rate is staffed as if it varied no more than this; what varies more is the backlog's business."""
START_S = 10.0
"""Taken for true until a start was measured."""
HOLD_DOWN_S = 300.0
HOLD_DOWN_STARTS = 5.0
FLOOR_STARTS = 1.5
FORECAST_MAX = 2.0
"""The forecast may at most double the rate there is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What one consideration asks for, and its reason in words."""

    wanted: int
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One decision's figures. `patience_s`: how long a job may wait before an instance takes it."""

    signals: Signals
    limits: Limits
    work_s: float
    start_s: float
    hold_s: float
    patience_s: float

    @property
    def rate(self) -> float:
        """Jobs a second, lately."""
        return self.signals.arrivals_60s / 60


class SloDrain:
    """See the module. More backlog never gives fewer instances, and a need holds for `hold_down_s`, when that is None
    for max(300 s, 5 starts)."""

    def decide(self, signals: Signals, limits: Limits, memory: Memory) -> tuple[Decision, Memory]:
        """The protocol's promises hold."""
        case = _case(signals, limits)
        trend = forecast.follow(memory.trend, rate=signals.arrivals_15s / 15, now_s=signals.now_s)
        seen = peaks.learn(memory.peaks, signals)
        need = _need(case, trend)
        holding = [(at_s, n) for at_s, n in memory.needs if n > need.wanted and at_s > signals.now_s - case.hold_s]
        best = _held(case, need, holding[0]) if holding else need
        best = _larger(_larger(best, _floor(case, seen, best)), _planned(case))
        decision = Decision(
            wanted=limits.clamp(best.wanted),
            reason=_reason(case, best),
            details={
                "need": need.wanted,
                "unlimited": best.wanted,
                "jobs": signals.jobs,
                "rate_per_s": case.rate,
                "work_s": case.work_s,
                "start_s": case.start_s,
                "hold_down_s": case.hold_s,
            },
        )
        needs = (*holding, (signals.now_s, need.wanted))
        return decision, dataclasses.replace(memory, needs=needs, peaks=seen, trend=trend)


def _case(signals: Signals, limits: Limits) -> Case:
    """Of the objective, twice the usual time in the engine is kept free for the job itself, as nearly nine of ten of an
    exponential distribution take less; a tenth at least is left for waiting."""
    work_s = signals.work_s or 0.0
    start_s = START_S if signals.start_s is None else signals.start_s
    hold_s = max(HOLD_DOWN_S, HOLD_DOWN_STARTS * start_s) if limits.hold_down_s is None else limits.hold_down_s
    patience_s = max(limits.objective_s - 2 * (signals.service_s or work_s), limits.objective_s / 10)
    return Case(signals=signals, limits=limits, work_s=work_s, start_s=start_s, hold_s=hold_s, patience_s=patience_s)


def _need(case: Case, trend: forecast.Trend) -> Need:
    jobs = case.signals.jobs
    nothing = Need(wanted=0, words=f"no job came for {min(60.0, case.hold_s):.0f} s")
    if not case.work_s:
        words = f"{jobs} jobs wait, and how long one takes is not known yet"
        return Need(wanted=1, words=words) if jobs else nothing
    need = _larger(_backlog(case), _rate(case))
    need = _larger(need, _ahead(case, trend))
    return need if need.wanted else nothing


def _larger(first: Need, second: Need | None) -> Need:
    return second if second and second.wanted > first.wanted else first


def _backlog(case: Case) -> Need:
    """What waits is drained within what a job may wait, while jobs go on coming at this rate.

    As many jobs as the rate always keeps inside engines (Little's law) are no backlog, and a job that waits needs at
    most a place of its own, which is work_s / service_s of an instance.
    """
    signals, work_s = case.signals, case.work_s
    inside_s = signals.service_s or work_s
    waiting = max(0.0, signals.jobs - case.rate * inside_s)
    wanted = math.ceil(case.rate * work_s + waiting * work_s / max(case.patience_s, inside_s) - 1e-9)
    each_s = signals.jobs * work_s / max(1, signals.instances)
    what = "1 job waits" if signals.jobs == 1 else f"{signals.jobs} jobs wait"
    words = f"{what}, {each_s:.1f} s of work each instance, objective {case.limits.objective_s:g} s"
    return Need(wanted=max(1, wanted) if signals.jobs else 0, words=words)


def _rate(case: Case) -> Need:
    wanted = _staff(case, case.rate)
    words = (
        f"{_plain(case.rate)} jobs/s of {case.work_s:.2g} s keep {case.rate * case.work_s:.2g} instances busy, "
        f"objective {case.limits.objective_s:g} s"
    )
    return Need(wanted=wanted, words=words)


def _ahead(case: Case, trend: forecast.Trend) -> Need | None:
    """Only growth is looked at: what goes down is the hold-down's business, and what is left of a rate that has ended
    wakes nobody."""
    if not case.rate:
        return None
    expected = min(forecast.ahead(trend, by_s=case.start_s), FORECAST_MAX * max(case.rate, trend[0]))
    if expected <= case.rate:
        return None
    return Need(
        wanted=_staff(case, expected),
        words=f"{_plain(expected)} jobs/s are expected in {case.start_s:.0f} s, which is how long a start takes",
    )


def _staff(case: Case, rate: float) -> int:
    signals = case.signals
    vary = [1.0 if each is None else each for each in (signals.cv2_arrivals, signals.cv2_work)]
    waits_s = case.work_s * min(max(sum(vary) / 2, 0.1), VARIABILITY_MAX)
    most = max(1, case.limits.ceiling)
    return staff(rate * case.work_s, waits_s=waits_s, patience_s=case.patience_s, late=LATE, most=most)


def _held(case: Case, need: Need, past: tuple[float, int]) -> Need:
    at_s, wanted = past
    ago_s = case.signals.now_s - at_s
    words = f"{wanted} were needed {ago_s:.0f} s ago, {need.wanted} are now, and a need holds for {case.hold_s:.0f} s"
    return Need(wanted=wanted, words=words)


def _floor(case: Case, seen: peaks.Peaks, best: Need) -> Need | None:
    """None where an instance can start in time, and for a service that may rest and has nothing to do."""
    may_rest = case.limits.min_instances == 0 and best.wanted == 0
    if may_rest or not case.work_s or case.limits.objective_s >= FLOOR_STARTS * case.start_s:
        return None
    wanted, window_s, jobs = peaks.keep_up(
        seen, now_s=case.signals.now_s, work_s=case.work_s, patience_s=case.patience_s
    )
    words = (
        f"{jobs:.0f} jobs came within {window_s:.0f} s lately, and a start ({case.start_s:.0f} s) is too slow for the "
        f"objective of {case.limits.objective_s:g} s"
    )
    return Need(wanted=wanted, words=words)


def _planned(case: Case) -> Need | None:
    plan = schedules.asks_for(case.limits.schedules, now_s=case.signals.now_s, ahead_s=case.start_s)
    return Need(wanted=plan.min_instances, words=f'the schedule "{plan.cron}" asks for it') if plan else None


def _plain(rate: float) -> str:
    """Two digits that say something, and no exponent."""
    return f"{rate:.2g}" if rate < 10 else f"{rate:.0f}"


def _reason(case: Case, best: Need) -> str:
    signals, limits = case.signals, case.limits
    wanted = limits.clamp(best.wanted)
    change = f"{signals.instances} -> {wanted}" if wanted != signals.instances else f"{wanted} stay"
    rests = "" if best.wanted or wanted else "; the next one wakes it"
    return f"{change}: {best.words}{limits.words(best.wanted)}{rests}"
