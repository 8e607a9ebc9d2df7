"""Where the time goes after a process was killed: what the logs and the moves of the jobs say, stage by stage."""

import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from statistics import median

from tests.chaos.world import World

SEEN = {"engine": "child_ended", "worker": "worker_crashed"}


def stages(world: World, role: str, at: float) -> dict[str, float]:
    """Seconds after the kill at epoch second `at`, for as much as came about.

    `seen`: its parent knows. `given_back`: its jobs wait again. `started`: a worker process has begun, `loaded`: the
    engine is there. `claimed` and `ended`: a job again, for the first time since it was loaded. `lost_claimed`: half of
    the jobs that were lost are claimed again; those of low priority wait behind whatever came meanwhile.
    """
    found: dict[str, float] = {}
    for stage, event in (("seen", SEEN[role]), ("started", "worker_started"), ("loaded", "engine_loaded")):
        if stage != "started" or role == "worker":
            found[stage] = next(_logged(world, event, after=at), at) - at
    rows = world.system.rows(
        "SELECT at, job_id, before, state FROM chaos_moves WHERE at > :at AND before IS NOT NULL ORDER BY seq", at=at
    )
    lost: dict[str, float] = {}
    loaded = at + found["loaded"]
    for moved_at, job_id, before, state in rows:
        if (before, state) == ("running", "pending") and moved_at < loaded and job_id not in lost:
            lost[job_id] = 0.0
            found["given_back"] = moved_at - at
        elif (before, state) == ("pending", "running"):
            if lost.get(job_id) == 0.0:
                lost[job_id] = moved_at - at
            if moved_at > loaded:
                found.setdefault("claimed", moved_at - at)
        elif state == "completed" and moved_at > loaded:
            found.setdefault("ended", moved_at - at)
    if claims := [claim for claim in lost.values() if claim]:
        found["lost_claimed"] = median(claims)
    return found


def middle(found: Sequence[dict[str, float]]) -> dict[str, float]:
    """The median of each stage, in the order of time."""
    names = {name for one in found for name in one}
    values = {name: round(median(one[name] for one in found if name in one), 2) for name in names}
    return dict(sorted(values.items(), key=lambda item: item[1]))


def _logged(world: World, event: str, *, after: float) -> Iterator[float]:
    """When it was logged, from then on, in order."""
    mark, times = f'"{event}"', list[float]()
    for path in world.system.data.glob("logs/*.log"):
        for text in path.read_text(errors="replace").splitlines():
            if mark in text:
                times.append(datetime.fromisoformat(json.loads(text)["timestamp"]).timestamp())
    yield from sorted(time for time in times if time > after)
