"""The checker on a real database: its triggers note what the store does, and what is spoilt by hand is found."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from inference.access.model import Scope
from inference.ids import DEFAULT_TENANT
from inference.jobs.model import FINAL, Claimant, JobState
from inference.store.database import Database
from inference.store.jobs import SqlJobs
from inference.tensors import pack
from tests.chaos import checker, trace
from tests.contract import jobs

PID = 1


@pytest.fixture
def traced(migrated: Database) -> Database:
    trace.install(migrated)
    jobs.add_service(migrated)
    return migrated


def one(value: float, **changes: Any) -> Any:
    payload = pack({"x": np.array([[value, 0.0]], np.float32)})
    return jobs.job(payload=payload, callback_url="http://example.com/", order_key=value, **changes)


def live_through_everything(database: Database) -> tuple[list[dict[str, Any]], list[float]]:
    """Completed, cancelled while waiting and while running, retried, released, lost and run again, failed and requeued.

    The client's lines and the engine's values.
    """
    store, scope = SqlJobs(database), Scope(DEFAULT_TENANT)
    good, waits, runs, lost, bad = (one(float(n)) for n in range(1, 6))
    sent = jobs.queue(store, good, waits, runs, lost, bad)
    lines: list[dict[str, Any]] = [
        {"op": "submit", "tenant": DEFAULT_TENANT, "status": 202, "key": None, "ids": sent,
         "values": [1.0, 2.0, 3.0, 4.0, 5.0], "answers": [{"y": [[1.0]]}] * 5},
        *({"op": "cancel", "tenant": DEFAULT_TENANT, "status": 200, "id": sent[n], "state": "running"} for n in (1, 2)),
    ]  # fmt: skip
    store.cancel(scope, sent[1])
    by = jobs.add_instance(database)
    first, *others = store.claim(by, max_rows=2).jobs
    store.release(by, others)
    store.finish(by, [jobs.ended(first, JobState.PENDING)])
    batch = store.claim(by, max_rows=8).jobs
    store.cancel(scope, sent[2])
    ends = {sent[4]: JobState.FAILED, sent[0]: JobState.COMPLETED, sent[2]: JobState.COMPLETED}
    store.finish(by, [_ended(job, ends[job.id]) for job in batch if job.id in ends])
    jobs.end_lease(database, by)
    store.reap()
    store.again(scope, sent[4], action="retry", allowed=FINAL, place=lambda now, priority, deadline: now)
    other = jobs.add_instance(database)
    while claimed := store.claim(other, max_rows=8).jobs:
        store.finish(other, [jobs.completed(job) for job in claimed])
    return lines, [1.0, 3.0, 4.0, 5.0]


def _ended(job: Any, state: JobState) -> Any:
    return jobs.completed(job) if state is JobState.COMPLETED else jobs.ended(job, state)


def check(
    database: Database,
    folder: Path,
    lines: list[dict[str, Any]],
    values: list[float],
    capsys: Any,
    *,
    slack_s: float = 0.5,
) -> tuple[int, dict[str, Any]]:
    client, effects = folder / "client.jsonl", folder / "effects.jsonl"
    client.write_text("".join(json.dumps(line) + "\n" for line in lines))
    effects.write_text("".join(json.dumps({"value": value, "pid": PID}) + "\n" for value in values) + '{"val')
    url = database.url.render_as_string(hide_password=False)
    code = checker.main(
        ["--client", str(client), "--database", url, "--effects", str(effects), "--slack", str(slack_s)]
    )
    return code, json.loads(capsys.readouterr().out)


def test_what_the_store_does_breaks_nothing(traced: Database, tmp_path: Path, capsys: Any):
    lines, values = live_through_everything(traced)

    code, figures = check(traced, tmp_path, lines, values, capsys)

    assert (code, figures["violations"], figures["unchecked"]) == (0, {}, [])
    counted = ("jobs", "acked", "completed", "cancelled", "failed", "dead", "attempts")
    assert [figures[name] for name in counted] == [5, 5, 3, 2, 0, 0, 7]


def spoil_state(connection: sa.Connection) -> None:
    connection.execute(sa.text("UPDATE jobs SET state = 'failed' WHERE state = 'cancelled' AND attempt > 0"))


def spoil_usage(connection: sa.Connection) -> None:
    connection.execute(sa.text("UPDATE usage SET jobs = jobs + 1"))


def spoil_result(connection: sa.Connection) -> None:
    connection.execute(sa.text("UPDATE results SET body = :body"), {"body": b'{"y": [[9.0]]}'})


def spoil_row(connection: sa.Connection) -> None:
    connection.execute(sa.text("DELETE FROM jobs WHERE state = 'completed'"))


@pytest.mark.parametrize(
    ("spoil", "name"),
    [
        (spoil_state, "moved_after_final"),
        (spoil_usage, "usage_differs"),
        (spoil_result, "result_wrong"),
        (spoil_row, "lost"),
    ],
)
def test_what_is_spoilt_by_hand_is_found(
    traced: Database, tmp_path: Path, capsys: Any, spoil: Callable[[sa.Connection], None], name: str
):
    lines, values = live_through_everything(traced)
    with traced.write() as connection:
        spoil(connection)

    code, figures = check(traced, tmp_path, lines, values, capsys)

    assert code == 1
    assert name in figures["violations"]


def test_a_run_of_what_was_never_claimed_is_found(traced: Database, tmp_path: Path, capsys: Any):
    lines, values = live_through_everything(traced)

    code, figures = check(traced, tmp_path, lines, [*values, 2.0], capsys)

    assert code == 1
    assert figures["violations"] == {"run_without_claim": 1}


def test_a_claim_out_of_order_is_found(traced: Database, tmp_path: Path, capsys: Any):
    store = SqlJobs(traced)
    later, _ = jobs.queue(store, one(2.0), one(1.0))
    by: Claimant = jobs.add_instance(traced)
    jobs.change(traced, later, state="running", attempt=1, instance_id=by.instance_id, instance_generation=1)

    code, figures = check(traced, tmp_path, [], [], capsys, slack_s=0.0)

    assert code == 1
    assert figures["violations"]["overtaken"] == 1
