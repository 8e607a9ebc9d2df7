"""Signals and limits that tests start from."""

import dataclasses
from typing import Any

from inference.scaling.model import Decision, Limits, Memory, Policy, Signals, Unfinished

NOW_S = 1_800_000_000.0
LIMITS = Limits(min_instances=0, max_instances=20, objective_s=10.0)


def signals(*, jobs: int = 0, oldest_s: float = 0.0, **changes: Any) -> Signals:
    """A service whose jobs take half a second each and whose instances start in two."""
    known: dict[str, Any] = {"now_s": NOW_S, "work_s": 0.5, "service_s": 0.5, "start_s": 2.0}
    waiting = (Unfinished(priority=0, jobs=jobs, oldest_s=oldest_s),) if jobs else ()
    return Signals(unfinished=waiting, **(known | changes))


def limits(**changes: Any) -> Limits:
    """At most twenty instances, ten seconds."""
    return dataclasses.replace(LIMITS, **changes)


def decide(policy: Policy, seen: Signals, allowed: Limits = LIMITS, memory: Memory | None = None) -> Decision:
    """One decision; without a memory, the first one."""
    return policy.decide(seen, allowed, memory or Memory())[0]
