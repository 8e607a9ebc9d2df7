"""What an engine reports, passed on: to whom, how often, and until when."""

import threading

import pytest

from inference.jobs.express_model import ExpressJob
from inference.jobs.model import ClaimedJob
from tests.fakes_progress import FakeProgress
from tests.services import wait_for
from workers.progress import GRACE_S, Reports


def job(job_id: str, *, rows: int = 1, attempt: int = 1, kind: type[ClaimedJob] = ClaimedJob, **more) -> ClaimedJob:
    return kind(
        id=job_id,
        tenant_id="t",
        attempt=attempt,
        max_attempts=3,
        priority=0,
        bucket="",
        rows=rows,
        crashes=0,
        submitted_at=0.0,
        claimed_at=0.0,
        deadline=None,
        timeout_s=30.0,
        metadata_json=None,
        payload=b"",
        **more,
    )


@pytest.fixture
def board():
    return FakeProgress()


@pytest.fixture
def reports(board):
    return Reports(board, now_s=lambda: 7.0, every_s=0.001)


def until(board, **fractions):
    def told():
        return {job_id: report.fraction for job_id, report in board.reports.items()}

    wait_for(lambda: told() == fractions, timeout_s=5, what=f"{fractions}, not {told()}")


def test_all_jobs_of_a_call_get_what_is_said_of_it(board, reports):
    reports.begin([job("a"), job("b", attempt=2)], limit_s=30.0)

    reports(0.25, "loading")

    until(board, a=0.25, b=0.25)
    assert (board.reports["b"].attempt, board.reports["b"].message, board.reports["b"].updated_at) == (
        2,
        "loading",
        7.0,
    )
    assert board.lives_s[-1] == 30.0 + GRACE_S


def test_what_is_said_of_a_row_goes_to_its_job_alone(board, reports):
    reports.begin([job("a", rows=2), job("b", rows=3)], limit_s=30.0)

    reports(0.5, row=1)
    reports(0.7, row=2)
    reports(0.9, row=5)
    reports(0.9, row=-1)

    until(board, a=0.5, b=0.7)


def test_fractions_are_kept_within_0_and_1_and_what_is_no_number_is_nothing(board, reports):
    reports.begin([job("a")], limit_s=30.0)

    for fraction in (float("nan"), float("inf")):
        reports(fraction)
    reports(1.5, "x" * 1000)

    until(board, a=1.0)
    assert len(board.reports["a"].message) == 200


def test_before_and_after_a_call_nobody_is_told_anything_and_no_thread_begins(board, reports):
    before = threading.active_count()

    reports(0.5)
    reports.begin([job("a")], limit_s=30.0)
    reports.end()
    reports(0.6)

    assert threading.active_count() == before
    assert (board.reports, board.removed) == ({}, [])


def test_what_was_told_of_a_call_goes_with_it(board, reports):
    reports.begin([job("a")], limit_s=30.0)
    reports(0.5)
    until(board, a=0.5)

    reports.end()

    wait_for(lambda: board.removed == ["a"], timeout_s=5, what="removed")
    assert board.reports == {}


def test_of_many_reports_the_last_is_told_and_few_of_those_before(board):
    reports = Reports(board, now_s=lambda: 7.0, every_s=0.2)
    reports.begin([job("a")], limit_s=30.0)

    for step in range(1000):
        reports(step / 1000)

    until(board, a=0.999)
    assert len(board.lives_s) <= 3


def test_a_prediction_has_nobody_who_asks(board, reports):
    reports.begin([job("a", kind=ExpressJob, asker="x"), job("b")], limit_s=30.0)

    reports(0.5)

    until(board, b=0.5)
