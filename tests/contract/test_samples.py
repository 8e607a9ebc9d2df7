"""What comparisons read of a service's tasks, on each database."""

import pytest

from inference.access.model import Scope
from inference.jobs.model import Claimant, JobState
from inference.results.model import Span, Total
from inference.store import samples as room
from inference.store.database import Database
from inference.store.jobs import SqlJobs
from inference.store.samples import SqlSamples
from tests.contract.jobs import SERVICE, change, completed, ended, job, queue

SCOPE = Scope("default")
SPAN = Span(service_id=SERVICE)
BODY = b'{"y":[[1.0]]}'


@pytest.fixture
def samples(store: SqlJobs, database: Database) -> SqlSamples:
    del store  # it lays the tables
    return SqlSamples(database)


def run(store: SqlJobs, by: Claimant, *payloads: bytes) -> list[str]:
    ids = queue(store, *(job(payload=payload) for payload in payloads))
    store.finish(by, [completed(claimed, BODY) for claimed in store.claim(by, max_rows=len(ids)).jobs])
    return ids


def test_the_same_input_has_the_same_digest_and_no_other_has(samples: SqlSamples, store: SqlJobs, by: Claimant):
    first, same, other = run(store, by, b"a", b"a", b"b")

    digests = samples.digests(SCOPE, [first, same, other])

    assert digests[first] == digests[same] != digests[other]
    assert samples.bodies(SCOPE, [first, other]) == {first: BODY, other: BODY}


def test_totals_and_the_newest_are_of_the_span_alone(
    samples: SqlSamples, store: SqlJobs, by: Claimant, database: Database
):
    old, new, newest = run(store, by, b"a", b"b", b"c")
    (failed,) = queue(store, job())
    store.finish(by, [ended(claimed, JobState.FAILED) for claimed in store.claim(by, max_rows=1).jobs])
    queue(store, job())
    change(database, old, model_version="0.9.0", submitted_at=1.0)

    version = Span(service_id=SERVICE, version=by.model_version)

    assert samples.totals(SCOPE, SPAN) == [
        Total(state="completed", error_code=None, count=3),
        Total(state="failed", error_code="engine_failed", count=1),
    ]
    assert [one.id for one in samples.newest(SCOPE, version, limit=9)] == sorted([new, newest], reverse=True)
    assert [one.id for one in samples.newest(SCOPE, SPAN, limit=1)] == [max(old, new, newest)]
    assert samples.totals(SCOPE, Span(service_id=SERVICE, until=1.0)) == []
    assert failed not in [one.id for one in samples.newest(SCOPE, SPAN, limit=9)]


def test_what_is_large_is_left_out_and_reading_has_an_end(
    samples: SqlSamples, store: SqlJobs, by: Claimant, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(room, "CHUNK", 2)
    monkeypatch.setattr(room, "LARGE_BYTES", 3)
    monkeypatch.setattr(room, "READ_BYTES", 5)
    ids = run(store, by, b"aaaa", b"bbb", b"ccc", b"ddd", b"eee")

    assert set(samples.digests(SCOPE, ids)) == set(ids[1:4])


def test_nothing_of_another_scope_is_read(samples: SqlSamples, store: SqlJobs, by: Claimant):
    ids = run(store, by, b"a")

    for stranger in (Scope("other"), Scope("default", workspace="w"), Scope("default", service_id="6" * 32)):
        assert samples.totals(stranger, SPAN) == samples.newest(stranger, SPAN, limit=9) == []
        assert samples.digests(stranger, ids) == samples.bodies(stranger, ids) == {}
