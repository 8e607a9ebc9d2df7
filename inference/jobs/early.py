"""Rings while a commit is under way: a drain wakes up meanwhile, and finds what was committed."""

from collections.abc import Sequence

from inference.jobs.model import Submission
from inference.jobs.ports import Bell


class EarlyRings:
    """Of one commit. `done`: the services that need no ring after it."""

    __slots__ = ("_bell", "_submissions", "done")

    def __init__(self, bell: Bell, submissions: Sequence[Submission]) -> None:
        self._bell = bell
        self._submissions = submissions
        self.done: set[str] = set()

    def ring(self) -> None:
        """For `JobStore.insert` to call. Not for what may need no run; in vain for what is refused in the end."""
        for submission in self._submissions:
            service_id = submission.jobs[0].service_id
            if submission.may_hit or service_id in self.done:
                continue
            if self._bell.ring_early(service_id, slots=submission.slots):
                self.done.add(service_id)

    def heed(self) -> None:
        """Call at the very end: it may begin a thread's turn."""
        if self.done:
            self._bell.heed()
