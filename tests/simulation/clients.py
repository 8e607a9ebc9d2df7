"""A client of the simulation: what the routes do for it, step by step, and what it notes of the answers."""

from collections.abc import Generator
from typing import TYPE_CHECKING, Any, TypeAlias

from inference.access.model import Scope
from inference.errors import PenstockError
from inference.jobs.again import RETRIED
from inference.jobs.model import FINAL, Accepted, NewJob, Submission
from inference.jobs.order import moved_key, order_key

if TYPE_CHECKING:
    from tests.simulation.world import World

Steps: TypeAlias = Generator[None, None, None]
TENANT = "t"
SERVICE = "s"
SCOPE = Scope(TENANT)
HEAD_START_S = 300.0


class Client:
    """Sends jobs of the kinds it is told to, sends some again, and then does to them what clients do."""

    def __init__(self, world: "World", name: str, kinds: list[str], acts: int) -> None:
        self.world, self.name, self.kinds, self.acts = world, name, kinds, acts
        self.ids: list[str] = []
        self.steps = self._life()

    def submit_all(self) -> None:
        """At once, before anybody works."""
        for number, kind in enumerate(self.kinds):
            for _ in self._submit(f"{self.name}{number}:{kind}", None, None):
                pass
        self.kinds = []

    def _life(self) -> Steps:
        pick = self.world.pick
        for number, kind in enumerate(self.kinds):
            key = f"{self.name}{number}" if pick(3) else None
            value = f"{self.name}{number}:{kind}"
            ahead_s = (None, None, None, 3.0, 40.0)[pick(5)]
            deadline = None if ahead_s is None else self.world.now + ahead_s
            yield from self._submit(value, key, deadline)
            if key is not None and pick(4) == 0:
                yield from self._submit(value, key, deadline)
            if self.ids and pick(3) == 0:
                yield from self._act()
        for _ in range(self.acts if self.ids else 0):
            yield from self._act()

    def _act(self) -> Steps:
        job_id = self.ids[self.world.pick(len(self.ids))]
        what = self.world.pick(6) if not self.world.is_lapsing else self.world.pick(2) * 2
        if what == 0:
            yield from self.cancel(job_id)
        elif what == 1:
            yield from self.again(job_id, "retry", RETRIED)
        elif what == 2:
            yield from self.again(job_id, "requeue", FINAL)
        elif what == 3:
            yield from self._prioritise(job_id)
        else:
            yield from self._read(job_id)

    def _note(self, op: str, sent: int, **line: Any) -> None:
        plain = {"op": op, "at": sent, "done": self.world.count(), "tenant": TENANT}
        self.world.client.append(plain | line)

    def _submit(self, value: str, key: str | None, deadline: float | None) -> Steps:
        """With a key it is sent again until an answer comes; without one, what got no answer is forgotten."""
        world, sent = self.world, self.world.count()
        while True:
            new = self._job(value, deadline)
            answer = None
            is_lost = world.fault(8)
            if not (is_lost and world.pick(2)):
                submission = Submission(tenant_id=TENANT, jobs=(new,), idempotency_key=key, body_hash=value.encode())
                (answer,) = world.store.insert([submission])
            yield
            accepted = isinstance(answer, Accepted) and not is_lost
            ids = list(answer.job_ids) if isinstance(answer, Accepted) and accepted else []
            status = 202 if accepted else None if is_lost else 409
            ends = [world.right_ends(value, has_deadline=deadline is not None)]
            self._note(
                "submit", sent, key=key, status=status, ids=ids, values=[value], answers=[b"of " + value.encode()],
                ends=ends,
            )  # fmt: skip
            self.ids += [job_id for job_id in ids if job_id not in self.ids]
            if key is None or accepted:
                return

    def _job(self, value: str, deadline: float | None) -> NewJob:
        world = self.world
        priority = world.pick(3) * 4
        return NewJob(
            id=world.new_id("j"),
            tenant_id=TENANT,
            service_id=SERVICE,
            priority=priority,
            order_key=order_key(
                submitted_at=world.now, priority=priority, head_start_s=HEAD_START_S, deadline=deadline, estimate_s=0.1
            ),
            submitted_at=world.now,
            deadline=deadline,
            timeout_s=60.0,
            max_attempts=2 + world.pick(2),
            bucket="b" if world.pick(4) else "c",
            rows=1,
            callback_url="http://example.com/",
            metadata_json=None,
            payload=value.encode(),
            callback_events=1,
        )

    def cancel(self, job_id: str) -> Steps:
        sent = self.world.count()
        generation = self.world.store.rows[job_id].generation
        try:
            state = self.world.store.cancel(SCOPE, job_id)
        except PenstockError:
            status, state = 409, None
        else:
            status = 200
        self._note("cancel", sent, id=job_id, status=status, state=state, generation=generation)
        yield

    def _prioritise(self, job_id: str) -> Steps:
        def move(key: float, before: int, deadline: float | None, submitted_at: float) -> float:
            return moved_key(
                key,
                submitted_at=submitted_at,
                levels=9 - before,
                head_start_s=HEAD_START_S,
                deadline=deadline,
                estimate_s=0.1,
            )

        try:
            self.world.store.prioritise(SCOPE, job_id, priority=9, move=move)
        except PenstockError:
            return
        yield

    def again(self, job_id: str, action: str, allowed: frozenset[Any]) -> Steps:
        world, sent = self.world, self.world.count()
        if world.store.rows[job_id].state not in allowed:
            return
        yield
        world.forget_hot(job_id)
        yield

        def place(now: float, priority: int, deadline: float | None) -> float:
            return order_key(
                submitted_at=now, priority=priority, head_start_s=HEAD_START_S, deadline=deadline, estimate_s=0.1
            )

        try:
            renewed = world.store.again(SCOPE, job_id, action=action, allowed=allowed, place=place)
        except PenstockError:
            return
        yield
        self._note(action, sent, id=job_id, status=200, generation=renewed.generation)

    def _read(self, job_id: str) -> Steps:
        world, sent = self.world, self.world.count()
        found = world.get_hot(job_id)
        yield
        if found is None:
            row = world.store.rows[job_id]
            found = row.generation, row.state, world.store.results.get(job_id)
            yield
        generation, state, answer = found
        self._note("read", sent, id=job_id, status=200, state=state, generation=generation, answer=answer)
