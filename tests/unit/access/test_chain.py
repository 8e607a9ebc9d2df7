"""The audit record's chain: what a digest is over, and that no tampering escapes `verify`."""

import dataclasses
import hashlib
import json

import pytest

from inference.access import audit, chain
from inference.access.chain import Link
from inference.access.model import AuditRecord, Principal, Reach, Role, Scope
from inference.access.ports import AuditFilter
from inference.errors import TenantNotFound
from inference.settings import Settings
from tests.audit_records import keep, record, records
from tests.fakes_access import FakeAudit, make_access

CHANGES = {
    "at": 5.5,
    "tenant_id": "b",
    "actor_kind": "open",
    "actor_id": "other",
    "actor_name": "other",
    "address": "10.0.0.9",
    "operation": "DELETE /x",
    "action": "service.stop",
    "object_kind": "key",
    "object_id": "other",
    "before": {"state": "other"},
    "after": {},
    "previous_hash": "f" * 64,
    "hash": "f" * 64,
    "seq": 70,
}


def access(rows: list[AuditRecord]) -> tuple[FakeAudit, object]:
    """Ports over this record, with the head where it belongs."""
    ports = make_access(Settings())
    keep(ports.audit, rows)
    return ports.audit, ports


def holder(reach: Reach, tenant_id: str = "a") -> Principal:
    return Principal(name="n", role=Role.ADMIN, scope=Scope(tenant_id), reach=reach, key_id="0b51e3c2a9d4")


def test_a_digest_is_over_the_exported_line_without_its_hash():
    made = record(1, "")
    line = json.loads(chain.canonical(chain.shown(made)))
    told = line.pop("hash")

    text = json.dumps(line, sort_keys=True, separators=(",", ":"), ensure_ascii=False)

    assert told == made.hash == hashlib.sha256(text.encode()).hexdigest()
    assert (line["at"], line["previous_hash"]) == ("2026-09-21T14:13:21.250000Z", "")


@pytest.mark.parametrize("field", CHANGES)
def test_every_field_is_under_the_hash(field):
    made = records(3)

    made[1] = dataclasses.replace(made[1], **{field: CHANGES[field]})

    assert chain.verify(made) is not None


def test_a_sound_chain_has_no_break_and_may_be_verified_in_parts():
    made = records(4)

    assert chain.verify([]) is None
    assert chain.verify(made) is None
    assert chain.verify(made[2:], after=Link(2, made[1].hash)) is None


def removed(rows, index):
    del rows[index]


def changed(rows, index):
    rows[index] = dataclasses.replace(rows[index], actor_name="somebody else")


def changed_with_its_hash(rows, index):
    other = dataclasses.replace(rows[index], actor_name="somebody else")
    rows[index] = dataclasses.replace(other, hash=chain.digest(other))


def renumbered(rows, index):
    """Takes one out and closes the gap."""
    del rows[index]
    rows[index:] = [dataclasses.replace(row, seq=row.seq - 1) for row in rows[index:]]


def swapped(rows, index):
    first, second = rows[index], rows[index + 1]
    rows[index] = dataclasses.replace(second, seq=first.seq)
    rows[index + 1] = dataclasses.replace(first, seq=second.seq)


def put_before_all(rows, _):
    rows.insert(0, record(0, ""))


def appended_past_the_head(rows, _):
    rows.append(record(11, rows[-1].hash))


TAMPERED = [
    (removed, 0, 1, "Record 1 is missing."),
    (removed, 4, 5, "Record 5 is missing."),
    (removed, 9, 10, "Record 10 is missing."),
    (changed, 4, 5, "Record 5 was changed"),
    (changed_with_its_hash, 4, 6, "Record 6 does not follow record 5"),
    (changed_with_its_hash, 9, 10, "Record 10 is not the one that was written"),
    (renumbered, 4, 5, "Record 5 was changed"),
    (swapped, 4, 5, "Record 5 was changed"),
    (put_before_all, 0, 0, "Record 0 does not belong here"),
    (appended_past_the_head, 0, 11, "should end at record 10, and goes on to record 11"),
]


@pytest.mark.parametrize(("tamper", "index", "seq", "says"), TAMPERED)
def test_whoever_tampers_is_found_out_in_one_sentence(tamper, index, seq, says):
    store, ports = access(records(10))

    tamper(store.rows, index)
    found = audit.verify(ports)

    assert not found.is_sound
    assert found.broken.seq == seq
    assert says in found.broken.message
    assert found.broken.message.endswith((".", "own."))
    assert found.broken.message.count(". ") == 0


def test_several_rows_missing_at_the_end_are_told_by_their_numbers():
    store, ports = access(records(10))

    del store.rows[6:]
    found = audit.verify(ports)

    assert (found.records, found.head, found.broken.seq) == (6, store.rows[-1].hash, 7)
    assert found.broken.message == "Records 7 to 10 are missing."


def test_a_record_that_was_emptied_is_found_out_by_its_head():
    store, ports = access(records(3))

    store.rows.clear()

    assert audit.verify(ports).broken.message == "Records 1 to 3 are missing."


def test_an_empty_and_a_long_record_are_sound(monkeypatch):
    monkeypatch.setattr(audit, "PAGE", 3)
    made = records(10)

    assert audit.verify(access([])[1]) == audit.Soundness(records=0, head="")
    assert audit.verify(access(made)[1]) == audit.Soundness(records=10, head=made[-1].hash)


def test_what_is_appended_while_it_is_verified_does_no_harm(monkeypatch):
    monkeypatch.setattr(audit, "PAGE", 3)
    made = records(10)
    store, ports = access(made[:4])
    find = store.find

    def find_and_append(which):
        found = find(which)
        if len(store.rows) < 10:
            store.rows.append(made[len(store.rows)])
            store.end = (store.rows[-1].seq, store.rows[-1].hash)
        return found

    store.find = find_and_append
    found = audit.verify(ports)

    assert found.is_sound
    assert found.records >= 4


def test_a_tenants_admin_sees_its_tenants_records_and_a_system_key_all():
    rows = records(4)
    rows[1] = record(2, "", tenant_id="b")
    _, ports = access(rows)

    def seen(reach, tenant_id=None):
        which = AuditFilter(tenant_id=tenant_id)
        return [row.seq for row in audit.find(ports, by=holder(reach), which=which)]

    assert seen(Reach.TENANT) == seen(Reach.TENANT, "a") == [4, 3, 1]
    assert seen(Reach.SYSTEM) == [4, 3, 2, 1]
    assert seen(Reach.SYSTEM, "b") == [2]


@pytest.mark.parametrize(("reach", "tenant_id"), [(Reach.TENANT, "b"), (Reach.TENANT, "nobody"), (Reach.SYSTEM, "B!")])
def test_another_tenants_records_are_those_of_nobody(reach, tenant_id):
    _, ports = access(records(2))

    with pytest.raises(TenantNotFound):
        audit.find(ports, by=holder(reach), which=AuditFilter(tenant_id=tenant_id))
    with pytest.raises(TenantNotFound):
        audit.export(ports, by=holder(reach), which=AuditFilter(tenant_id=tenant_id))


def test_an_export_ends_where_the_record_ended_when_it_began(monkeypatch):
    monkeypatch.setattr(audit, "PAGE", 2)
    made = records(7)
    store, ports = access(made[:5])

    exported = audit.export(ports, by=holder(Reach.SYSTEM), which=AuditFilter(tenant_id=None))
    store.rows.extend(made[5:])

    assert [row.seq for row in exported] == [1, 2, 3, 4, 5]
