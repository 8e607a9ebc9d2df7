"""A block of tasks becomes the same rows that the tasks would become one by one."""

import dataclasses

import pytest

from inference.access.model import ANYBODY
from inference.errors import BacklogFull
from inference.ids import is_id, new_id, new_ids
from inference.jobs import bulk, submit
from inference.jobs.bulk import PLAIN
from inference.jobs.model import JobSpec
from tests import fakes

SPECS = [
    JobSpec(payload=b"a", rows=1, bucket=""),
    JobSpec(payload=b"bb", rows=2, bucket="3", priority=9),
    JobSpec(payload=b"c", rows=1, bucket="", priority=4, deadline=4_000_000_000.5, timeout_s=7.0),
    JobSpec(
        payload=b"d", rows=1, bucket="", metadata={"id": "水"}, callback_url="https://x.example", callback_events=3
    ),
]


@pytest.fixture
def core():
    made = fakes.make_core()
    yield made
    made.close()


def task(spec):
    return (spec.payload, spec.rows, spec.bucket), {name: getattr(spec, name) for name in PLAIN}


@pytest.mark.parametrize("specs", [SPECS, SPECS[:1] * 3, [SPECS[1]]])
def test_rows_are_those_of_tasks_sent_one_by_one(core, monkeypatch, specs):
    service = fakes.add_service(core)
    monkeypatch.setattr(core.jobs.store, "now_s", lambda: 1_763_640_000.25)

    together = bulk.submit(core.jobs, core.bulk, by=ANYBODY, service_id=service.id, tasks=list(map(task, specs)))
    alone = submit.submit(core.jobs, by=ANYBODY, service_id=service.id, specs=specs)

    rows = core.jobs.store.rows
    assert together.created_at == alone.created_at
    assert [dataclasses.replace(rows[job_id], id="") for job_id in together.job_ids] == [
        dataclasses.replace(rows[job_id], id="") for job_id in alone.job_ids
    ]


def test_a_block_counts_against_quotas_as_a_whole(core, monkeypatch):
    service, asked = fakes.add_service(core), []

    def admit(by, *, jobs, payload_bytes):
        asked.append((jobs, payload_bytes))
        raise BacklogFull("Too many wait.", of="tenant", waiting=1, limit=1, retry_after_s=5)

    monkeypatch.setattr(core.jobs.admission, "admit", admit)
    with pytest.raises(BacklogFull):
        bulk.submit(core.jobs, core.bulk, by=ANYBODY, service_id=service.id, tasks=list(map(task, SPECS)))

    assert asked == [(4, 5)]
    assert core.bulk.blocks == []


def test_ids_made_together_rise_and_are_ids_like_others():
    before, ids, after = new_id(), new_ids(500), new_id()

    assert len(set(ids)) == 500
    assert ids == sorted(ids)
    assert all(map(is_id, ids))
    assert {(text[12], text[16] in "89ab") for text in (*ids, before)} == {("7", True)}
    assert before[:12] <= ids[0][:12] <= after[:12]
