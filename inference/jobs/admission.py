"""The quotas that new jobs count against, checked without a query per request."""

from collections.abc import Mapping

from inference.access.model import Principal
from inference.access.quotas import Quotas
from inference.access.tally import Tally
from inference.errors import BacklogFull
from inference.jobs.ports import JobStore

RECOUNT_S = 10.0
RETRY_AFTER_S = 5


class BacklogQuota:
    """`Admission`: jobs waiting, from a count taken now and then plus what this process let in since; bytes; GPU time.

    Between counts, other processes' submissions are not seen: the quota may be passed by what they accept in
    ten seconds.
    """

    def __init__(self, store: JobStore, quotas: Quotas) -> None:
        self._quotas = quotas
        self._waiting = Tally(store.waiting, every_s=RECOUNT_S)

    def admit(self, by: Principal, *, jobs: int, payload_bytes: int) -> None:
        """See `Admission`. What is refused counts against no quota."""
        self._quotas.check_engine_time(by)
        if not jobs:
            return
        self._quotas.take_bytes(by, payload_bytes)
        try:
            exceeded = self._waiting.admit(self._quotas.of(by).waiting, jobs)
        except BaseException:
            self._quotas.give_back_bytes(by, payload_bytes)
            raise
        if exceeded is not None:
            self._quotas.give_back_bytes(by, payload_bytes)
            waiting, limit = int(exceeded.used), int(exceeded.bound.limit)
            raise BacklogFull(
                f"{waiting} tasks of this {exceeded.bound.of} are waiting already and {limit} may; "
                "send these again later.",
                of=exceeded.bound.of,
                waiting=waiting,
                limit=limit,
                retry_after_s=RETRY_AFTER_S,
            )

    def used(self, by: Principal) -> Mapping[str, Mapping[str, float]]:
        """See `Admission`."""
        found = self._quotas.used(by)
        for bound in self._quotas.of(by).waiting:
            found[bound.of]["jobs_waiting"] = int(self._waiting.used(bound))
        return found
