"""What long polls are tried with: tasks that change while somebody waits."""

import asyncio

from api.live.waiters import Waiters
from inference.access.model import Scope
from inference.ids import new_id
from inference.jobs.model import End, JobState, JobView

SCOPE = Scope("t")


def a_view(state=JobState.PENDING, **changes):
    plain = {"id": new_id(), "service_id": new_id(), "state": state, "priority": 0, "attempts": 0, "created_at": 1.0}
    return JobView(**(plain | changes))


def an_end(tenant_id="t", **changes):
    return End(tenant_id=tenant_id, view=a_view(JobState.COMPLETED, **({"id": "a"} | changes)))


class Store:
    """States that change while somebody waits."""

    def __init__(self, state=JobState.PENDING):
        self.view = a_view(state)
        self.reads = 0
        self.before_answer = None

    async def read(self, task_id):
        self.reads += 1
        view = self.view
        if self.before_answer:
            self.before_answer()
            self.before_answer = None
        await asyncio.sleep(0)
        return view

    def finish(self):
        self.view = a_view(JobState.COMPLETED)


def waiting(scenario):
    """Runs a scenario with fresh waiters, a store, and a client that stays."""

    async def run():
        gone = asyncio.get_running_loop().create_future()
        return await scenario(Waiters(), Store(), gone)

    return asyncio.run(run())
