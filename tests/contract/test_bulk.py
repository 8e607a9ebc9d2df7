"""Blocks of jobs go in whole or not at all, and results come out page by page."""

import dataclasses
import json

import pytest
import sqlalchemy as sa

from inference.access.model import Scope
from inference.errors import ServiceNotFound, StoreUnavailable, WrongState
from inference.ids import new_id, new_ids
from inference.jobs.block import Block
from inference.jobs.model import Claimant, JobFilter, JobState
from inference.store import bulk as room
from inference.store import tables
from inference.store.bulk import SqlBulk
from inference.store.database import Database
from inference.store.jobs import SqlJobs
from tests.contract.jobs import SERVICE, add_service, completed, count, ended, job, queue, row

SCOPE = Scope("default")
ALIKE = {
    "submitted_at": 1_763_640_000.25,
    "max_attempts": 3,
    "key_id": None,
    "rows": 1,
    "bucket": "2x2",
    "priority": 0,
    "timeout_s": 60.0,
    "deadline": None,
    "callback_url": None,
    "callback_events": 1,
    "metadata": None,
}


@pytest.fixture
def bulk(store: SqlJobs, database: Database) -> SqlBulk:
    return SqlBulk(database)


def block(size: int, *, service_id: str = SERVICE, tenant_id: str = "default", **differing: list[object]) -> Block:
    return Block(
        ids=new_ids(size),
        order_keys=[1_763_640_000.25 + 0.000001 * n for n in range(size)],
        payloads=[b"\x00\xff\\\n\t%d" % n * (n + 1) for n in range(size)],
        tenant_id=tenant_id,
        service_id=service_id,
        alike={name: value for name, value in ALIKE.items() if name not in differing},
        differing=differing,
    )


def finish(store: SqlJobs, by: Claimant, state: JobState | None = None, *, jobs: int = 1000) -> None:
    for claimed in store.claim(by, max_rows=jobs).jobs:
        outcome = completed(claimed, b'{"y":[[%d.0]]}' % claimed.priority) if state is None else ended(claimed, state)
        store.finish(by, [outcome])


def everything(bulk: SqlBulk, which: JobFilter, *, limit: int = 1000) -> list[str]:
    found, after = [], None
    while True:
        page = bulk.page(SCOPE, which, after=after, limit=limit)
        assert len(page.views) <= limit
        found += [view.id for view in page.views]
        if (after := page.after) is None:
            return found


def test_a_block_is_stored_as_jobs_sent_alone_would_be(bulk: SqlBulk, store: SqlJobs, database: Database):
    text = json.dumps({"name": 'water\t水\\ "quoted"\n', "n": 1}, ensure_ascii=False)
    sent = block(2, metadata=[None, text], priority=[0, 9], deadline=[4_000_000_000.123456, None])
    single = job(
        **{name: value for name, value in ALIKE.items() if name not in ("metadata", "priority", "deadline")},
        id=sent.ids[1],
        order_key=sent.order_keys[1],
        priority=9,
        metadata_json=text,
    )

    bulk.insert(sent)
    in_bulk = [dict(row(database, job_id)) for job_id in sent.ids]
    with database.write() as connection:
        connection.execute(sa.delete(tables.jobs))
        connection.execute(sa.delete(tables.payloads))
    queue(store, single)

    assert in_bulk[1] == dict(row(database, single.id))
    assert (in_bulk[0]["priority"], in_bulk[0]["metadata"]) == (0, None)
    assert abs(in_bulk[0]["deadline"] - 4_000_000_000.123456) < 1e-6


def test_jobs_of_a_block_are_claimed_in_order_with_their_own_payloads(bulk: SqlBulk, store: SqlJobs, by: Claimant):
    sent = block(700)

    bulk.insert(sent)
    claimed = store.claim(by, max_rows=700).jobs

    assert [one.id for one in claimed] == list(sent.ids)
    assert [one.payload for one in claimed] == list(sent.payloads)


@pytest.mark.parametrize("state", ["stopped", "unknown", "of another tenant"])
def test_a_block_that_is_refused_leaves_nothing(bulk: SqlBulk, database: Database, state: str):
    service_id = new_id()
    if state != "unknown":
        tenant_id = "b" if state == "of another tenant" else "default"
        add_service(database, service_id, state="stopped" if state == "stopped" else "running", tenant_id=tenant_id)

    with pytest.raises(WrongState if state == "stopped" else ServiceNotFound):
        bulk.insert(block(3, service_id=service_id))

    assert count(database, tables.jobs) == count(database, tables.payloads) == 0


def test_a_block_whose_data_is_refused_leaves_nothing(bulk: SqlBulk, database: Database):
    first = block(3)
    bulk.insert(first)

    with pytest.raises(Exception, match="refuses"):
        bulk.insert(dataclasses.replace(block(3), ids=[new_id(), new_id(), first.ids[0]]))

    assert count(database, tables.jobs) == count(database, tables.payloads) == 3


def test_a_block_whose_connection_is_lost_after_the_commit_is_stored_once(
    bulk: SqlBulk, database: Database, monkeypatch: pytest.MonkeyPatch
):
    if database.is_sqlite:
        pytest.skip("a file has no connection to lose")
    sent, copy, lost = block(5), room._copy, []

    def copy_and_cut(connection: sa.Connection, block: Block) -> None:
        """The connection dies after the rows were committed, and before that was told."""
        copy(connection, block)
        if not lost:
            connection.connection.driver_connection.commit()  # type: ignore[union-attr]
            connection.connection.driver_connection.close()  # type: ignore[union-attr]
            lost.append(1)

    monkeypatch.setattr(room, "_copy", copy_and_cut)
    try:
        bulk.insert(sent)
    except StoreUnavailable as error:  # pragma: no cover
        pytest.fail(str(error))

    assert lost == [1]
    assert count(database, tables.jobs) == count(database, tables.payloads) == 5


def test_results_come_in_order_of_ids_and_only_of_what_is_over(
    bulk: SqlBulk, store: SqlJobs, by: Claimant, database: Database
):
    sent = block(7, priority=list(range(7)))
    bulk.insert(sent)
    finish(store, by, jobs=5)

    page = bulk.page(SCOPE, JobFilter(service_id=SERVICE), after=None, limit=10)

    assert [view.id for view in page.views] == list(sent.ids[:5])
    assert [view.result for view in page.views] == [b'{"y":[[%d.0]]}' % n for n in range(5)]
    assert page.after is None
    assert store.get(SCOPE, sent.ids[0]) == page.views[0]


@pytest.mark.parametrize(("window", "limit"), [(4, 3), (3, 4), (1000, 7), (5, 5)])
def test_pages_pass_over_what_does_not_fit_and_leave_nothing_out(
    bulk: SqlBulk, store: SqlJobs, by: Claimant, monkeypatch: pytest.MonkeyPatch, window: int, limit: int
):
    monkeypatch.setattr(room, "WINDOW", window)
    sent = block(40, priority=[0] * 20 + [1, 1] + [0] * 18)
    bulk.insert(sent)
    finish(store, by, jobs=30)
    finish(store, by, JobState.FAILED)

    assert everything(bulk, JobFilter(service_id=SERVICE), limit=limit) == list(sent.ids)
    assert everything(bulk, JobFilter(service_id=SERVICE, state=JobState.FAILED), limit=limit) == list(sent.ids[30:])
    assert everything(bulk, JobFilter(service_id=SERVICE, priority=1), limit=limit) == list(sent.ids[20:22])
    assert everything(bulk, JobFilter(service_id=SERVICE, created_to=1.0), limit=limit) == []


def test_a_page_of_large_results_is_short(bulk: SqlBulk, store: SqlJobs, by: Claimant, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(room, "PAGE_BYTES", 40)
    sent = block(10)
    bulk.insert(sent)
    finish(store, by)

    page = bulk.page(SCOPE, JobFilter(service_id=SERVICE), after=None, limit=10)

    assert len(page.views) == 4  # of 13 bytes each
    assert everything(bulk, JobFilter(service_id=SERVICE)) == list(sent.ids)


def test_results_of_another_scope_do_not_exist(bulk: SqlBulk, store: SqlJobs, by: Claimant):
    bulk.insert(block(3))
    finish(store, by)

    for stranger in (Scope("other"), Scope("default", workspace="w"), Scope("default", service_id="6" * 32)):
        assert bulk.page(stranger, JobFilter(service_id=SERVICE), after=None, limit=10).views == ()
