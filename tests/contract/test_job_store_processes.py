"""Several real processes on one job store: nothing is shared by two, nothing is lost."""

from inference.store.database import Database
from inference.store.jobs import SqlJobs
from tests.contract import jobs
from tests.contract.jobs import job, queue, states
from tests.contract.processes import answer, release_together, spawn

SUBMITTERS, JOBS_EACH = 4, 300


def test_two_processes_that_claim_at_once_never_share_a_job(store: SqlJobs, database: Database, database_url: str):
    sent = queue(store, *(job() for _ in range(600)))

    workers = [spawn("work", database_url, len(sent), 8) for _ in range(2)]
    release_together(workers)
    ran = [answer(worker) for worker in workers]

    print(f"jobs by process: {[len(one) for one in ran]}")
    everything = [job_id for one in ran for job_id, _ in one]
    assert min(len(one) for one in ran) > 0
    assert sorted(everything) == sorted(sent)
    assert {attempt for one in ran for _, attempt in one} == {1}


def test_four_that_submit_and_two_that_claim_lose_none_and_run_none_twice(
    store: SqlJobs, database: Database, database_url: str
):
    expected = SUBMITTERS * JOBS_EACH

    submitters = [spawn("submit", database_url, JOBS_EACH, 10) for _ in range(SUBMITTERS)]
    workers = [spawn("work", database_url, expected, 32) for _ in range(2)]
    release_together(workers)
    acknowledged = [job_id for submitter in submitters for job_id in answer(submitter)]
    ran = [job_id for worker in workers for job_id, _ in answer(worker)]

    assert len(set(acknowledged)) == expected
    assert sorted(ran) == sorted(acknowledged)
    assert states(database) == dict.fromkeys(acknowledged, "completed")
    assert {jobs.attempts(database, job_id)[0] for job_id in acknowledged[:50]} == {(1, "completed")}
