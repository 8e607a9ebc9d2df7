"""The job store in memory."""

import dataclasses
import time

import msgspec

from inference.errors import (
    IdempotencyMismatch,
    JobNotFound,
    PenstockError,
    StoreUnavailable,
    WrongState,
)
from inference.ids import DEFAULT_TENANT
from inference.jobs import events
from inference.jobs.again import wrong_state
from inference.jobs.block import Page
from inference.jobs.model import FINAL, Accepted, Backlog, JobHistory, JobState, JobView, Renewed
from inference.jobs.ports import JobPorts
from inference.serving.model import MEANT_TO_RUN
from inference.settings import JobsSettings


def bare_ports(store, **given):
    """Ports of which nothing is there but the store, the settings and what is given."""
    nothing = dict.fromkeys(("commit", "admission", "fair", "bell", "hot", "directory"))
    return JobPorts(**{**nothing, "store": store, "settings": JobsSettings(), **given})


class FakeJobs:
    """`JobStore`."""

    def __init__(self, services):
        self.views_by_id = {}
        self.rows = {}
        self.keys = {}
        self.attempts_by_id = {}
        self.selections = []
        self.noted = []
        self.looks = 0
        self.commits = 0
        self.is_away = False
        self._services = services

    def now_s(self):
        return time.time()

    def insert(self, submissions, *, soon=None):
        return [self._answer(submission) for submission in submissions]

    def _answer(self, submission):
        try:
            return self._insert(submission)
        except PenstockError as refusal:
            return refusal

    def _insert(self, submission):
        if self.is_away:
            raise StoreUnavailable("The database is away.", part="store", retry_after_s=2)
        service = self._services.rows[submission.jobs[0].service_id]
        if service.state not in MEANT_TO_RUN and not service.config.queue_while_stopped:
            raise WrongState(f"Service {service.id} is {service.state}; start it first.", state=service.state.value)
        if (key := submission.idempotency_key) and key in self.keys:
            known_hash, accepted = self.keys[key]
            if known_hash != submission.body_hash:
                raise IdempotencyMismatch("This key came with another body.", key=key)
            return dataclasses.replace(accepted, is_replay=True)
        if submission.refusal is not None:
            raise submission.refusal
        self.commits += 1
        for job in submission.jobs:
            self.rows[job.id] = job
            self.views_by_id[job.id] = JobView(
                id=job.id,
                service_id=job.service_id,
                state=JobState.PENDING,
                priority=job.priority,
                attempts=0,
                created_at=job.submitted_at,
                deadline=job.deadline,
                metadata_json=job.metadata_json,
                asked_service_id=job.asked_service_id,
            )
        accepted = Accepted(
            job_ids=tuple(job.id for job in submission.jobs), created_at=submission.jobs[0].submitted_at
        )
        if key:
            self.keys[key] = (submission.body_hash, accepted)
        return accepted

    def get(self, scope, job_id):
        if job_id not in self.views_by_id:
            raise JobNotFound(f"There is no task {job_id}.", task_id=job_id)
        return self.views_by_id[job_id]

    def get_many(self, scope, job_ids):
        return {job_id: self.views_by_id[job_id] for job_id in job_ids if job_id in self.views_by_id}

    def views(self, job_ids):
        return [(DEFAULT_TENANT, self.views_by_id[job_id]) for job_id in job_ids if job_id in self.views_by_id]

    def list(self, scope, which):
        def fits(view):
            return (
                which.service_id in (None, view.service_id)
                and which.state in (None, view.state)
                and which.priority in (None, view.priority)
                and (which.created_from is None or view.created_at >= which.created_from)
                and (which.created_to is None or view.created_at < which.created_to)
                and which.model_version in (None, view.model_version)
                and which.worker in (None, view.worker)
                and which.error_code in (None, view.error_code)
            )

        rows = [view for view in self.views_by_id.values() if fits(view)]
        rows.sort(key=lambda row: row.id, reverse=not which.is_oldest_first)
        if which.before_id is not None:
            rows = [
                row for row in rows if (row.id > which.before_id) is which.is_oldest_first and row.id != which.before_id
            ]
        shown = rows[: which.limit]
        return Page(views=shown, after=shown[-1].id if len(rows) > which.limit else None)

    def cancel(self, scope, job_id):
        view = self.get(scope, job_id)
        if view.state in FINAL - {JobState.CANCELLED}:
            raise WrongState(f"Task {job_id} is {view.state}.", state=view.state.value)
        if view.state is JobState.PENDING:
            self.change(job_id, state=JobState.CANCELLED, completed_at=time.time())
        return self.views_by_id[job_id].state

    def change(self, job_id, **values):
        self.views_by_id[job_id] = msgspec.structs.replace(self.views_by_id[job_id], **values)

    def complete(self, job_id, result=b'{"y":[[1.0,2.0]]}'):
        created = self.views_by_id[job_id].created_at
        self.change(
            job_id,
            state=JobState.COMPLETED,
            attempts=1,
            batch_size=4,
            started_at=created + 0.25,
            completed_at=created + 0.5,
            model_version="1.0.0",
            worker="s.0@host",
            result=result,
        )

    def waiting(self, tenant_id, by_key=False):
        return {None: sum(view.state is JobState.PENDING for view in self.views_by_id.values())}

    def backlog(self):
        found = {}
        for view in self.views_by_id.values():
            if view.state is JobState.PENDING:
                found[view.service_id, view.priority] = found.get((view.service_id, view.priority), 0) + 1
        return [
            Backlog(service_id=service_id, priority=priority, waiting=count, oldest_age_s=1.5)
            for (service_id, priority), count in found.items()
        ]

    def counts(self):
        found = {}
        for view in self.views_by_id.values():
            found[view.service_id, view.state] = found.get((view.service_id, view.state), 0) + 1
        return found

    def again(self, scope, job_id, *, action, allowed, place):
        view = self.get(scope, job_id)
        if view.state not in allowed:
            raise wrong_state(job_id, view.state, allowed, action=action)
        self.views_by_id[job_id] = JobView(
            id=job_id,
            service_id=view.service_id,
            state=JobState.PENDING,
            priority=view.priority,
            attempts=0,
            created_at=view.created_at,
            metadata_json=view.metadata_json,
            generation=view.generation + 1,
        )
        return Renewed(generation=view.generation + 1, service_id=view.service_id, priority=view.priority)

    def prioritise(self, scope, job_id, *, priority, move):
        view = self.get(scope, job_id)
        if view.state is not JobState.PENDING:
            raise wrong_state(job_id, view.state, [JobState.PENDING], action="prioritise")
        self.moved = move(view.created_at, view.priority, view.deadline, view.created_at)
        self.change(job_id, priority=priority)

    def cancel_many(self, scope, which):
        self.selections.append(which)
        changed = {}
        for view in list(self.views_by_id.values()):
            is_chosen = view.service_id == which.service_id and which.state in (None, view.state)
            if is_chosen and view.state not in FINAL and (which.job_ids is None or view.id in which.job_ids):
                changed[view.id] = self.cancel(scope, view.id)
        yield changed

    def note_cancelled(self, scope, which, *, cancelled, requested):
        self.noted.append((cancelled, requested))

    def ahead(self, scope, job_id, *, limit):
        mine = self.rows[job_id]
        waiting = [self.rows[one.id] for one in self.views_by_id.values() if one.state is JobState.PENDING]
        before = [one for one in waiting if (one.order_key, one.id) < (mine.order_key, mine.id)]
        return min(limit, len(before))

    def marks(self, job_ids):
        self.looks += 1
        return {job_id: events.mark(self.history(None, job_id)) for job_id in job_ids if job_id in self.views_by_id}

    def histories(self, scope, job_ids):
        return {job_id: self.history(scope, job_id) for job_id in job_ids if job_id in self.views_by_id}

    def history(self, scope, job_id):
        return JobHistory(
            job=self.get(scope, job_id), claimed_at=None, attempts=tuple(self.attempts_by_id.get(job_id, ()))
        )
