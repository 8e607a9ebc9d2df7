"""Whether an engine call should be ended because some of its jobs are not wanted any more. Pure."""

from dataclasses import dataclass

WORTH_S = 2.0
"""A call that is expected to end within this time is left alone for the sake of its other jobs."""

OVERDUE = 4.0
MOMENT_S = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class UnderWay:
    """An engine call. `jobs`: those in it, of which `cancelled` are not wanted. Durations in seconds."""

    jobs: int
    cancelled: int
    running_s: float
    expected_s: float


def should_stop(call: UnderWay) -> bool:
    """True when nobody wants the rest of the call, or when it would keep the engine for long.

    A call that has gone on longer than expected is taken to last as long again, and one that has gone on for much
    longer (`OVERDUE` times, and a moment) not to end at all.
    """
    if not call.cancelled:
        return False
    if call.cancelled >= call.jobs:
        return True
    if call.running_s > OVERDUE * call.expected_s + MOMENT_S:
        return True
    left_s = call.expected_s - call.running_s
    return (left_s if left_s > 0 else call.running_s) > WORTH_S
