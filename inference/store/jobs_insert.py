"""Group commit's one transaction: idempotency keys, jobs and payloads of many requests."""

import functools
import json
from collections.abc import Callable, Sequence

import sqlalchemy as sa

from inference.errors import (
    DataRefused,
    IdempotencyMismatch,
    PenstockError,
    ServiceNotFound,
    StoreUnavailable,
    WrongState,
)
from inference.jobs.model import Accepted, NewJob, Submission
from inference.serving.model import TAKES_TASKS
from inference.store import equal_inputs
from inference.store.database import Database
from inference.store.statement import Statement

Answer = Accepted | PenstockError

JOB_COLUMNS = {
    "id": "text",
    "tenant_id": "text",
    "service_id": "text",
    "priority": "smallint",
    "order_key": "float8",
    "submitted_at": "float8",
    "deadline": "float8",
    "timeout_s": "float8",
    "max_attempts": "int",
    "bucket": "text",
    "rows": "int",
    "callback_url": "text",
    "metadata": "text",
    "key_id": "text",
    "callback_events": "smallint",
}
PLAIN = tuple(JOB_COLUMNS)
KEYED = (*PLAIN, "input_key")
PAYLOAD_COLUMNS = {"job_id": "text", "body": "bytea"}


def insert(db: Database, submissions: Sequence[Submission], *, soon: Callable[[], None] | None = None) -> list[Answer]:
    """Answers one for one. Data that the database refuses is bisected down to the one submission that holds it.

    A connection lost in the middle of COMMIT leaves it open whether the rows are there, so they are inserted
    once more: ids were made by the caller, and a row that is there already is left as it is.
    """
    try:
        return db.again(lambda: _insert(db, submissions, soon), also_lost=True)
    except DataRefused as refusal:
        if len(submissions) == 1:
            return [refusal]
        middle = len(submissions) // 2
        return insert(db, submissions[:middle]) + insert(db, submissions[middle:])


@functools.lru_cache(maxsize=8)
def _states(db: Database) -> Statement:
    which = db.rows_from("r", {"tenant_id": "text", "id": "text"})
    return Statement(
        db,
        f"SELECT s.tenant_id, s.id, s.state, s.queue_while_stopped FROM {which} "
        "JOIN services s ON s.id = r.id AND s.tenant_id = r.tenant_id",
    )


@functools.lru_cache(maxsize=8)
def _inserts(db: Database, columns: tuple[str, ...]) -> tuple[Statement, Statement]:
    """Of jobs and of their payloads: row by row on SQLite, from arrays on PostgreSQL."""
    names = ", ".join(columns)
    if db.is_sqlite:
        marks = ", ".join("?" * len(columns))
        jobs = f"INSERT INTO jobs ({names}, state) VALUES ({marks}, 'pending')"
        payloads = "INSERT INTO payloads (job_id, body) VALUES (?, ?)"
    else:
        kinds = {name: JOB_COLUMNS.get(name, "text") for name in columns}
        jobs = f"INSERT INTO jobs ({names}, state) SELECT {names}, 'pending' FROM {db.rows_from('r', kinds)}"
        payloads = f"INSERT INTO payloads (job_id, body) SELECT job_id, body FROM {db.rows_from('r', PAYLOAD_COLUMNS)}"
    return Statement(db, f"{jobs} ON CONFLICT DO NOTHING"), Statement(db, f"{payloads} ON CONFLICT DO NOTHING")


def _insert(db: Database, submissions: Sequence[Submission], soon: Callable[[], None] | None) -> list[Answer]:
    answers: dict[int, Answer] = {}
    with db.write() as connection:
        if soon is not None and db.is_sqlite:
            soon()  # whoever claims wants the write gate first, which is ours until the commit
        _refuse_closed_services(db, connection, submissions, answers)
        open_ones = [i for i in range(len(submissions)) if i not in answers]
        keyed = [i for i in open_ones if submissions[i].idempotency_key is not None]
        losers = _take_keys(connection, submissions, keyed)
        winners = [i for i in open_ones if i not in losers]
        for i in winners:
            if (refusal := submissions[i].refusal) is not None:
                answers[i] = refusal
                _give_key_back(connection, submissions[i])
        winners = [i for i in winners if i not in answers]
        _insert_jobs(db, connection, [job for i in winners for job in submissions[i].jobs])
        may_hit = [job for i in winners if submissions[i].may_hit for job in submissions[i].jobs]
        cached = equal_inputs.answer_new(db, connection, may_hit) if may_hit else frozenset()
        for i in winners:
            jobs = submissions[i].jobs
            ids = tuple(job.id for job in jobs)
            answers[i] = Accepted(
                job_ids=ids, created_at=jobs[0].submitted_at, cached_ids=cached and cached.intersection(ids)
            )
        for i in losers:
            answers[i] = _first_answer(connection, submissions[i]) or submissions[i].refusal or _vanished()
        for i, answer in answers.items():
            # What was accepted once is answered the same way, also when its service has stopped since.
            if isinstance(answer, WrongState) and submissions[i].idempotency_key is not None:
                answers[i] = _first_answer(connection, submissions[i]) or answer
    return [answers[i] for i in range(len(submissions))]


def _refuse_closed_services(
    db: Database, connection: sa.Connection, submissions: Sequence[Submission], answers: dict[int, Answer]
) -> None:
    wanted = sorted({(submission.tenant_id, submission.jobs[0].service_id) for submission in submissions})
    found = _states(db).rows(connection, db.rows("r", ("tenant_id", "id"), wanted))
    states = {(tenant_id, service_id): (state, queues) for tenant_id, service_id, state, queues in found}
    for i, submission in enumerate(submissions):
        service_id = submission.jobs[0].service_id
        if (submission.tenant_id, service_id) not in states:
            answers[i] = ServiceNotFound(f"There is no service {service_id}.", service_id=service_id)
            continue
        state, queues = states[submission.tenant_id, service_id]
        if (refusal := refuse_closed(service_id, state, queues=queues)) is not None:
            answers[i] = refusal


def refuse_closed(service_id: str, state: str, *, queues: bool) -> WrongState | None:
    """How a service in this state refuses new jobs; None when it takes them."""
    if state in TAKES_TASKS or queues:
        return None
    return WrongState(
        f"Service {service_id} is {state} and takes no tasks; start it with POST /services/{service_id}/start, "
        "or create it with queue_while_stopped.",
        state=state,
        allowed=sorted(TAKES_TASKS),
    )


def _take_keys(connection: sa.Connection, submissions: Sequence[Submission], keyed: Sequence[int]) -> list[int]:
    """Indices whose key was there before, or stands earlier in this group. Keys go in sorted, against deadlocks."""
    first: dict[tuple[str, str], int] = {}
    for i in keyed:
        first.setdefault((submissions[i].tenant_id, submissions[i].idempotency_key or ""), i)
    if not first:
        return []
    rows = [
        {
            "tenant_id": tenant,
            "idem_key": key,
            "body_hash": submissions[i].body_hash,
            "job_ids": json.dumps([job.id for job in submissions[i].jobs]),
            "created_at": submissions[i].jobs[0].submitted_at,
        }
        for (tenant, key), i in sorted(first.items())
    ]
    won = set()
    statement = sa.text(
        "INSERT INTO submissions (tenant_id, idem_key, body_hash, job_ids, created_at) "
        "VALUES (:tenant_id, :idem_key, :body_hash, :job_ids, :created_at) "
        "ON CONFLICT DO NOTHING RETURNING tenant_id, idem_key"
    )
    for row in rows:
        won |= {tuple(answer) for answer in connection.execute(statement, row)}
    winners = {i for key, i in first.items() if key in won}
    return [i for i in keyed if i not in winners]


def _give_key_back(connection: sa.Connection, submission: Submission) -> None:
    """Of a refused one: taking its key has told that nobody else has it, not even one who is just writing."""
    connection.execute(
        sa.text("DELETE FROM submissions WHERE tenant_id = :t AND idem_key = :k"),
        {"t": submission.tenant_id, "k": submission.idempotency_key},
    )


def _first_answer(connection: sa.Connection, submission: Submission) -> Answer | None:
    row = connection.execute(
        sa.text("SELECT body_hash, job_ids, created_at FROM submissions WHERE tenant_id = :t AND idem_key = :k"),
        {"t": submission.tenant_id, "k": submission.idempotency_key},
    ).first()
    if row is None:
        return None
    if bytes(row.body_hash) != submission.body_hash:
        return IdempotencyMismatch(
            "This Idempotency-Key was sent before with another body; use a new key for a new task.",
            idempotency_key=submission.idempotency_key,
        )
    ids = tuple(json.loads(row.job_ids))
    # After a lost COMMIT a submission may meet its own key: those jobs are new, and the bell must ring for them.
    return Accepted(job_ids=ids, created_at=row.created_at, is_replay=ids != tuple(job.id for job in submission.jobs))


def _vanished() -> StoreUnavailable:
    return StoreUnavailable(
        "The first task of this Idempotency-Key is just being removed.", part="sql", retry_after_s=1
    )


def _insert_jobs(db: Database, connection: sa.Connection, jobs: Sequence[NewJob]) -> None:
    if not jobs:
        return
    columns, rows = PLAIN, [_row(job) for job in jobs]
    if any(job.input_key is not None for job in jobs):
        # A column of its own only where it says something.
        columns, rows = KEYED, [(*row, job.input_key) for row, job in zip(rows, jobs, strict=True)]
    into_jobs, into_payloads = _inserts(db, columns)
    payloads = [(job.id, job.payload) for job in jobs]
    if db.is_sqlite:
        into_jobs.run_each(connection, rows)
        into_payloads.run_each(connection, payloads)
    else:
        into_jobs.run(connection, db.rows("r", columns, rows))
        into_payloads.run(connection, db.rows("r", PAYLOAD_COLUMNS, payloads))
    if moved := [(job.id, job.asked_service_id) for job in jobs if job.asked_service_id is not None]:
        _note_asked(db, connection, moved)


def _note_asked(db: Database, connection: sa.Connection, moved: Sequence[tuple[str, str]]) -> None:
    """Apart from the insert, which has no need of a column that is empty for nearly all."""
    columns = {"id": "text", "asked": "text"}
    connection.execute(
        sa.text(f"UPDATE jobs SET asked_service_id = r.asked FROM {db.rows_from('r', columns)} WHERE jobs.id = r.id"),
        db.rows("r", columns, moved),
    )


def _row(job: NewJob) -> tuple[object, ...]:
    return (
        job.id,
        job.tenant_id,
        job.service_id,
        job.priority,
        job.order_key,
        job.submitted_at,
        job.deadline,
        job.timeout_s,
        job.max_attempts,
        job.bucket,
        job.rows,
        job.callback_url,
        job.metadata_json,
        job.key_id,
        job.callback_events,
    )
