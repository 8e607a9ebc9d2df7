"""Capacity that is there ahead of time: schedules of five cron fields, in UTC."""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache

from cronsim import CronSim, CronSimError

from inference.scaling.model import Schedule


def asks_for(schedules: Sequence[Schedule], *, now_s: float, ahead_s: float) -> Schedule | None:
    """Of the schedules that hold now, or will within `ahead_s`, the one that asks for most. None if none does."""
    holding = [each for each in schedules if _holds(each, now_s=now_s, ahead_s=ahead_s)]
    return max(holding, key=lambda each: each.min_instances, default=None)


def _holds(schedule: Schedule, *, now_s: float, ahead_s: float) -> bool:
    began_s = _last(schedule.cron, int((now_s + ahead_s) // 60) * 60)
    return began_s is not None and now_s < began_s + schedule.duration_s


@lru_cache(maxsize=4096)
def _last(cron: str, minute_s: int) -> float | None:
    """The last moment that `cron` names, up to and with `minute_s`: a minute is asked once for each schedule."""
    try:
        moment = next(CronSim(cron, datetime.fromtimestamp(minute_s + 60, UTC), reverse=True))
    except (CronSimError, StopIteration):
        return None
    return moment.timestamp()
