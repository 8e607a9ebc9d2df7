"""What may be asked of costs."""

from collections.abc import Sequence

from inference.costs import account
from inference.costs.model import Cost, CostGroup, JobCost
from inference.costs.ports import CostPorts


def find(ports: CostPorts, *, tenant_id: str | None, day_from: int, day_to: int, by: CostGroup) -> Sequence[Cost]:
    """Of one tenant, or of all, by group; `day_to` (days since 1970, UTC) is not part of it."""
    return ports.store.find(tenant_id, day_from=day_from, day_to=day_to, by=by)


def of_job(ports: CostPorts, job_id: str) -> JobCost:
    """What a job has cost so far, at the prices of the time when it ran. The caller has made sure that it may be seen.

    An unknown job, and one that never came to an engine, costs nothing.
    """
    runs = ports.store.runs(job_id)
    return account.job_cost(runs, ports.prices.all() if runs else ())
