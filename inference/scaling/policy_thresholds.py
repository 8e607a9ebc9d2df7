"""The policy `thresholds`: simple rules on what is waiting, on CPU, memory and response time."""

import dataclasses
import math

from inference.scaling import schedules
from inference.scaling.model import Decision, Limits, Memory, Signals

QUEUE_OUT = 10
CPU_IN = 0.30
MEMORY_OUT = 0.80
MEMORY_IN = 0.40
RESPONSE_OUT_S = 0.1
RESPONSE_OUT_SERVICES = 4.0
"""More instances make no job faster than it is by itself: the 95th percentile counts as slow from four times the usual
time in the engine on, not earlier. Without any waiting it is three times that where times are exponential."""
GROWTH = 0.5
SHRINKAGE = 0.25
"""A step, as a part of what there is; at least one."""
HOLD_DOWN_S = 300.0
START_S = 10.0


class Thresholds:
    """Out when any figure is above its upper threshold, in when all that are known are below their lower ones.

    The next step out is taken when the last one has arrived, the next step in after the hold-down (300 s).
    """

    def decide(self, signals: Signals, limits: Limits, memory: Memory) -> tuple[Decision, Memory]:
        """The protocol's promises hold."""
        now_s = signals.now_s
        had = int(memory.marks.get("wanted", max(signals.instances, limits.min_instances)))
        hold_s = HOLD_DOWN_S if limits.hold_down_s is None else limits.hold_down_s
        out = _out(signals, limits)
        calm = "" if out else _calm(signals)
        since_s = memory.marks.get("calm_since_s", now_s) if calm else now_s
        wanted, words = had, out or calm or "all figures are between their thresholds"
        if out and signals.ready >= had:
            wanted = had + max(1, math.ceil(GROWTH * had))
        elif calm and had and now_s - since_s >= hold_s:
            wanted, since_s, words = had - max(1, math.floor(SHRINKAGE * had)), now_s, f"{calm} for {hold_s:.0f} s"
        if signals.jobs and not wanted:
            wanted, words = 1, f"{signals.jobs} jobs wait"
        start_s = START_S if signals.start_s is None else signals.start_s
        plan = schedules.asks_for(limits.schedules, now_s=now_s, ahead_s=start_s)
        if plan and plan.min_instances > wanted:
            wanted, words = plan.min_instances, f'the schedule "{plan.cron}" asks for it'
        allowed = limits.clamp(wanted)
        change = f"{signals.instances} -> {allowed}" if allowed != signals.instances else f"{allowed} stay"
        decision = Decision(
            wanted=allowed,
            reason=f"{change}: {words}{limits.words(wanted)}",
            details={"unlimited": wanted, "jobs": signals.jobs, "calm_s": now_s - since_s, "hold_down_s": hold_s},
        )
        return decision, dataclasses.replace(memory, marks={"wanted": float(allowed), "calm_since_s": since_s})


def _out(signals: Signals, limits: Limits) -> str:
    """The first rule that asks for more, in words; empty if none does."""
    slow_s = max(RESPONSE_OUT_S, RESPONSE_OUT_SERVICES * (signals.service_s or signals.work_s or 0.0))
    waiting = signals.jobs - signals.ready  # each ready instance has one of them at least
    if waiting > QUEUE_OUT:
        return f"{waiting} jobs wait, more than {QUEUE_OUT}"
    if signals.cpu_share is not None and signals.cpu_share > limits.cpu_out:
        return f"CPU {signals.cpu_share:.0%}, above {limits.cpu_out:.0%}"
    if signals.memory_share is not None and signals.memory_share > MEMORY_OUT:
        return f"memory {signals.memory_share:.0%}, above {MEMORY_OUT:.0%}"
    if signals.jobs and signals.p95_s is not None and signals.p95_s > slow_s:
        return f"responses take {signals.p95_s:.2g} s, above {slow_s:.2g} s"
    return ""


def _calm(signals: Signals) -> str:
    """Why an instance could go, in words; empty if it could not. A service without jobs needs no other reason."""
    if not signals.jobs and not signals.arrivals_60s:
        return "no job came"
    known = [(signals.cpu_share, CPU_IN, "CPU"), (signals.memory_share, MEMORY_IN, "memory")]
    low = [
        f"{name} {share:.0%}, below {limit:.0%}" for share, limit, name in known if share is not None and share < limit
    ]
    return " and ".join(low) if low and len(low) == sum(share is not None for share, _, _ in known) else ""
