"""`POST /services/{id}/tasks` in the asynchronous process: prepared on the loop, committed beside it."""

from collections.abc import Callable, Iterable

from api import errors, submission
from api.live.fast import Call, Fast, Route
from api.schemas import task_in
from inference import tracing
from inference.core import Core
from inference.jobs.commit_loop import LoopCommit

PATTERN = r"/api/(?:v1/)?inference/services/([^/]+)/tasks/?"
RULE = "/api/v1/inference/services/<service_id>/tasks"


def _nothing(*_: object) -> None:
    pass


class Submits:
    """The handler. `fast` runs on threads what cannot be prepared on the loop.

    `expect` is told of a task to come, and `over` of one that was answered as it came, of which no other news follow.
    """

    def __init__(
        self,
        core: Core,
        commit: LoopCommit,
        fast: Fast,
        expect: Callable[[str, str], None] = _nothing,
        over: Callable[[Iterable[str]], None] = _nothing,
    ) -> None:
        self._core = core
        self._commit = commit
        self._aside = fast.aside
        self._expect = expect
        self._over = over

    def route(self) -> Route:
        """For `Fast`."""
        limit = self._core.settings.api.body_limit_bytes
        return Route(PATTERN, RULE, self.submit, limit_bytes=limit, way_out=task_in.UPLOAD_WAY_OUT)

    async def submit(self, call: Call, service_id: str) -> errors.Answer:
        """202 when the task is committed. Raises what refuses it; see `submission.prepare` and `submit.submit`."""
        key, steps = call.header(b"idempotency-key"), tracing.steps(self._core.jobs.traces)
        prepared = await self._aside(submission.prepare, self._core, call.principal, service_id, call.body, key)
        if steps is not None:
            steps.done("prepare")
        self._expect(prepared.jobs[0].id, prepared.tenant_id)
        accepted = await self._commit.put(prepared)
        if steps is not None:
            steps.done("commit")
        if accepted.cached_ids:
            self._over(accepted.cached_ids)
        text, location = submission.accepted(accepted, submission.base_of(call.path))
        return errors.Answer(status=202, body=text, headers={"Location": location})
