"""Group commit."""

import threading

import pytest

from inference.errors import DataRefused, StoreUnavailable
from inference.jobs.commit import GroupCommit
from inference.jobs.model import Accepted, Submission
from inference.settings import JobsSettings
from tests.contract import jobs as rows


def submission(name, payload=b"x", jobs=1):
    return Submission(
        tenant_id="default",
        jobs=tuple(
            rows.job(id=f"{name}.{i}", tenant_id="default", service_id="s", payload=payload) for i in range(jobs)
        ),
    )


class Bell(list):
    def ring(self, service_id, *, slots):
        self.append((service_id, slots))

    def ring_early(self, service_id, *, slots):
        return False


class SlowStore:
    """Holds its first insert until it is let go, so that others gather meanwhile."""

    def __init__(self):
        self.groups = []
        self.first_begun, self.go_on = threading.Event(), threading.Event()

    def insert(self, submissions, *, soon=None):
        self.groups.append([one.jobs[0].id for one in submissions])
        if len(self.groups) == 1:
            self.first_begun.set()
            self.go_on.wait(5)
        return [
            DataRefused("bad") if one.jobs[0].payload == b"bad" else Accepted(job_ids=(one.jobs[0].id,), created_at=1.0)
            for one in submissions
        ]


def submit_beside_one_under_way(store, commit, others):
    """Answers of `others`, all of which gathered while the first commit was held."""
    answers = {}

    def call(one):
        try:
            answers[one.jobs[0].id] = commit(one)
        except (DataRefused, StoreUnavailable) as error:
            answers[one.jobs[0].id] = error

    first = threading.Thread(target=call, args=(submission("first"),))
    first.start()
    store.first_begun.wait(5)
    threads = [threading.Thread(target=call, args=(one,)) for one in others]
    for thread in threads:
        thread.start()
    while len(commit._queue) < len(others):
        pass
    store.go_on.set()
    for thread in [first, *threads]:
        thread.join(5)
    return answers


def test_requests_that_come_during_a_commit_share_the_next_one():
    store = SlowStore()
    commit = GroupCommit(store, Bell(), JobsSettings())

    answers = submit_beside_one_under_way(store, commit, [submission(f"n{i}") for i in range(8)])

    assert len(answers) == 9
    assert [len(group) for group in store.groups] == [1, 8]
    assert (commit.commits, commit.submissions) == (2, 9)


def test_each_request_gets_its_own_answer():
    store = SlowStore()
    commit = GroupCommit(store, Bell(), JobsSettings())

    answers = submit_beside_one_under_way(store, commit, [submission("good"), submission("evil", payload=b"bad")])

    assert answers["good.0"].job_ids == ("good.0",)
    assert isinstance(answers["evil.0"], DataRefused)


def test_the_bell_rings_once_a_commit_and_only_for_new_jobs():
    store, bell = SlowStore(), Bell()
    commit = GroupCommit(store, bell, JobsSettings())

    submit_beside_one_under_way(store, commit, [submission(f"n{i}") for i in range(8)])
    with pytest.raises(DataRefused):
        commit(submission("evil", payload=b"bad"))

    assert bell == [("s", 1), ("s", 1)]


def test_a_group_is_cut_at_its_limit_of_rows():
    store = SlowStore()
    commit = GroupCommit(store, Bell(), JobsSettings(commit_rows=10))

    submit_beside_one_under_way(store, commit, [submission(f"n{i}", jobs=4) for i in range(4)])

    assert [len(group) for group in store.groups] == [1, 2, 2]


def test_a_request_larger_than_the_limit_is_committed_alone():
    store = SlowStore()
    store.go_on.set()
    commit = GroupCommit(store, Bell(), JobsSettings(commit_bytes=10))

    assert commit(submission("large", payload=b"y" * 100)).job_ids == ("large.0",)


def test_a_store_that_is_away_answers_all_and_the_next_request_is_served():
    class Away:
        is_away = True

        def insert(self, submissions, *, soon=None):
            if self.is_away:
                raise StoreUnavailable("away", part="sql")
            return [Accepted(job_ids=("a",), created_at=1.0) for _ in submissions]

    store = Away()
    commit = GroupCommit(store, Bell(), JobsSettings())

    with pytest.raises(StoreUnavailable):
        commit(submission("a"))
    store.is_away = False

    assert commit(submission("a")).job_ids == ("a",)


def test_an_unexpected_failure_does_not_leave_the_lead_taken():
    class Broken:
        calls = 0

        def insert(self, submissions, *, soon=None):
            self.calls += 1
            if self.calls == 1:
                raise ZeroDivisionError
            return [Accepted(job_ids=("a",), created_at=1.0) for _ in submissions]

    commit = GroupCommit(Broken(), Bell(), JobsSettings())

    with pytest.raises(ZeroDivisionError):
        commit(submission("a"))

    assert commit(submission("a")).job_ids == ("a",)
