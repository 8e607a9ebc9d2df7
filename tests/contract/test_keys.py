"""Keys and tenants in SQL: who is first, what rotation leaves, and in which order changes are seen."""

import dataclasses
import threading
import time

import pytest
import sqlalchemy as sa

from inference.access import token
from inference.access.model import ApiKey, Limits, Reach, Role, Scope, Tenant
from inference.access.ring import KeyRing
from inference.errors import InUse, KeyNotFound, NameExists, TenantNotFound, WrongState
from inference.ids import DEFAULT_TENANT, new_id
from inference.settings import AccessSettings
from inference.store.keys import SqlKeys
from inference.store.tables import api_keys, tenants, uploads
from inference.store.tenants import SqlTenants
from tests.contract import jobs, processes

HERE = Scope(DEFAULT_TENANT)


@pytest.fixture
def database(database):
    """With the tenant that the migrations make."""
    with database.write() as connection:
        if connection.execute(sa.select(tenants.c.id)).first() is None:
            connection.execute(sa.insert(tenants).values(id=DEFAULT_TENANT, name=DEFAULT_TENANT, created_at=0.0))
    return database


@pytest.fixture
def keys(database):
    return SqlKeys(database)


@pytest.fixture
def customers(database):
    return SqlTenants(database)


def put(store, scope=HERE, *, at=None, **options):
    """(key, token) of one that is in the store now."""
    made = token.make()
    options = {"name": "k", "role": Role.OPERATOR, "created_by": "test", **options}
    key = ApiKey(id=made.id, scope=scope, created_at=time.time() if at is None else at, **options)
    assert store.insert(key, made.digest)
    return key, made


def opens(store, made):
    """Whether a process that starts now would let this text in."""
    return KeyRing(store, AccessSettings()).holder(made.text) is not None


def test_a_key_is_kept_as_it_was_made(keys):
    key, _ = put(
        keys,
        Scope(DEFAULT_TENANT, "red", new_id()),
        name="line 3",
        role=Role.SUBMITTER,
        limits=Limits(requests_per_s=2.5, jobs_waiting=7, weight=3.0),
        is_for_service=True,
        expires_at=time.time() + 60,
    )

    assert keys.get(HERE, key.id) == key


def test_no_text_is_in_the_database(keys, database):
    _, made = put(keys)

    with database.read() as connection:
        row = connection.execute(sa.select(api_keys)).one()

    assert made.text.rpartition("_")[2] not in repr(tuple(row))
    assert bytes(row.digest) == made.digest


def test_lists_are_newest_first_and_paged_by_time_and_id(keys):
    times = [1_795_000_000.25, 1_795_000_000.25, 1_795_000_000.25, 1_795_000_001.1, 1_795_000_002.7]
    made = {(at, put(keys, at=at)[0].id) for at in times}
    every = [(key.created_at, key.id) for key in keys.list(HERE, limit=100)]

    paged, before = [], None
    while page := keys.list(HERE, limit=2, before=before):
        paged += [(key.created_at, key.id) for key in page]
        before = paged[-1]

    assert paged == every == sorted(every, reverse=True)
    assert set(every) == made


@pytest.mark.parametrize(
    "within", [Scope("acme"), Scope(DEFAULT_TENANT, "blue"), Scope(DEFAULT_TENANT, None, "f" * 32)], ids=str
)
def test_what_is_outside_the_scope_is_not_found_and_not_changed(keys, within):
    key, made = put(keys, Scope(DEFAULT_TENANT, "red", "0" * 32))

    for act in (
        lambda: keys.get(within, key.id),
        lambda: keys.change(within, key.id, name="n"),
        lambda: keys.rotate(within, key.id, b"x" * 32, overlap_s=0),
        lambda: keys.revoke(within, key.id),
    ):
        with pytest.raises(KeyNotFound):
            act()

    assert keys.list(within, limit=10) == []
    assert keys.get(HERE, key.id) == key
    assert opens(keys, made)


def test_of_eight_first_keys_one_is_made(keys, database_url):
    found = [processes.spawn("first-key", database_url) for _ in range(8)]
    try:
        processes.release_together(found)
        made = [processes.answer(process) for process in found]
    finally:
        for process in found:
            processes.discard(process)

    assert sorted(made) == [False] * 7 + [True]
    assert len(keys.list(HERE, limit=10)) == 1


def test_a_persons_key_ever_made_is_the_first_also_once_it_is_revoked(keys):
    put(keys, is_for_service=True)
    key, _ = put(keys)
    keys.revoke(HERE, key.id)
    late = ApiKey(id="0" * 12, name="k", role=Role.ADMIN, scope=HERE)

    assert keys.insert(late, b"d" * 32, only_first=True) is False


def test_a_key_of_a_service_leaves_the_system_open(keys):
    put(keys, is_for_service=True)
    opened = keys.changes(0).is_closed
    put(keys)

    assert (opened, keys.changes(0).is_closed) == (False, True)


def test_a_rotated_key_opens_with_both_texts_until_the_overlap_is_over(keys, database):
    key, old = put(keys)
    new, newest = token.make(key.id), token.make(key.id)

    keys.rotate(HERE, key.id, new.digest, overlap_s=60)
    first = [opens(keys, text) for text in (old, new)]
    rotated = keys.rotate(HERE, key.id, newest.digest, overlap_s=60)
    second = [opens(keys, text) for text in (old, new, newest)]
    with database.write() as connection:
        past = sa.literal_column(f"{database.clock} - 1", sa.Double())
        connection.execute(sa.update(api_keys).values(previous_until=past))
    third = [opens(keys, text) for text in (old, new, newest)]

    assert first == [True, True]
    assert second == [False, True, True]
    assert third == [False, False, True]
    assert rotated.previous_until == pytest.approx(rotated.rotated_at + 60, abs=1)


def test_a_rotation_without_overlap_ends_the_old_text(keys):
    key, old = put(keys)
    new = token.make(key.id)

    rotated = keys.rotate(HERE, key.id, new.digest, overlap_s=0)

    assert rotated.previous_until is None
    assert [opens(keys, text) for text in (old, new)] == [False, True]


def test_a_revoked_or_expired_key_is_not_rotated(keys):
    revoked, _ = put(keys)
    keys.revoke(HERE, revoked.id)
    expired, made = put(keys, expires_at=time.time() - 1)

    for key, state in ((revoked, "revoked"), (expired, "expired")):
        with pytest.raises(WrongState) as refusal:
            keys.rotate(HERE, key.id, b"x" * 32, overlap_s=0)
        assert refusal.value.details["state"] == state
    assert not opens(keys, made)


def test_revoking_twice_changes_nothing(keys):
    key, made = put(keys)
    first = keys.revoke(HERE, key.id)
    epoch = keys.changes(0).epoch

    assert keys.revoke(HERE, key.id) == first
    assert keys.changes(epoch) is None
    assert not opens(keys, made)


def test_changes_are_seen_once_and_nothing_when_there_are_none(keys, customers):
    start = keys.changes(0).epoch
    key, _ = put(keys)
    after_key = keys.changes(start)
    customers.change(DEFAULT_TENANT, name="ours")
    after_tenant = keys.changes(after_key.epoch)

    assert [change.key for change in after_key.keys] == [key]
    assert after_tenant.keys == ()
    assert [tenant.name for tenant in after_tenant.tenants] == ["ours"]
    assert keys.changes(after_tenant.epoch) is None


def test_epochs_commit_in_order_so_that_no_reader_misses_one(keys):
    """A reader that only asks for what is newer sees every key, whoever commits first."""
    wanted, seen, stop = set(), set(), threading.Event()
    lock = threading.Lock()

    def write():
        for _ in range(15):
            key, _ = put(keys)
            with lock:
                wanted.add(key.id)

    def read():
        epoch = 0
        while True:
            is_last = stop.is_set()
            changes = keys.changes(epoch)
            if changes is not None:
                assert changes.epoch > epoch
                epoch = changes.epoch
                seen.update(change.key.id for change in changes.keys)
            elif is_last:
                return

    reader = threading.Thread(target=read)
    writers = [threading.Thread(target=write) for _ in range(4)]
    for thread in (reader, *writers):
        thread.start()
    for thread in writers:
        thread.join(60)
    stop.set()
    reader.join(60)

    assert len(wanted) == 60
    assert wanted <= seen


def test_a_key_is_not_made_for_a_tenant_that_is_not_there(keys):
    made = token.make()

    with pytest.raises(TenantNotFound):
        keys.insert(ApiKey(id=made.id, name="k", role=Role.ADMIN, scope=Scope("acme")), made.digest)


def test_a_tenant_is_made_changed_listed_and_deleted(customers):
    acme = Tenant(id="acme", name="Acme", created_at=5.0, limits=Limits(bytes_stored=9))
    customers.insert(acme)

    changed = customers.change("acme", name="A", limits=Limits(weight=2.0), is_disabled=True)
    enabled = customers.change("acme", is_disabled=False)
    listed = [tenant.id for tenant in customers.list(limit=10)]
    page = [tenant.id for tenant in customers.list(limit=10, after_id="acme")]
    customers.delete("acme")

    assert changed == dataclasses.replace(acme, name="A", limits=Limits(weight=2.0), is_disabled=True)
    assert enabled.is_disabled is False
    assert (listed, page) == (["acme", DEFAULT_TENANT], [DEFAULT_TENANT])
    for act in (customers.get, customers.delete, lambda gone: customers.change(gone, name="n")):
        with pytest.raises(TenantNotFound):
            act("acme")


def test_an_id_is_given_once(customers):
    with pytest.raises(NameExists):
        customers.insert(Tenant(id=DEFAULT_TENANT, name="n", created_at=0.0))


def test_a_tenant_with_data_is_not_deleted(customers, database):
    customers.insert(Tenant(id="acme", name="Acme", created_at=0.0))
    jobs.add_service(database)
    with database.write() as connection:
        row = {"id": new_id(), "tenant_id": "acme", "blob_key": "0" * 64, "size_bytes": 1, "created_at": 0.0}
        columns = {name: value for name, value in row.items() if name in uploads.c}
        missing = [c.name for c in uploads.c if not c.nullable and c.server_default is None and c.name not in columns]
        connection.execute(sa.insert(uploads).values({**columns, **dict.fromkeys(missing, "0")}))

    with pytest.raises(InUse):
        customers.delete("acme")


def test_the_keys_of_a_deleted_or_disabled_tenant_open_nothing(keys, customers):
    for name in ("acme", "beta"):
        customers.insert(Tenant(id=name, name=name, created_at=0.0))
    _, of_acme = put(keys, Scope("acme"))
    _, of_beta = put(keys, Scope("beta"))
    running = KeyRing(keys, AccessSettings(refresh_s=0.0))
    before = [running.holder(made.text) is not None for made in (of_acme, of_beta)]

    customers.delete("acme")
    customers.change("beta", is_disabled=True)

    assert before == [True, True]
    assert [running.holder(made.text) for made in (of_acme, of_beta)] == [None, None]


def test_a_system_key_reaches_everything(keys):
    _, made = put(keys, is_system=True, role=Role.ADMIN)

    assert KeyRing(keys, AccessSettings()).holder(made.text).reach is Reach.SYSTEM


def test_the_id_of_a_deleted_tenant_is_given_to_nobody_again(keys, customers):
    customers.insert(Tenant(id="acme", name="the first", created_at=0.0))
    put(keys, Scope("acme"))
    customers.delete("acme")

    with pytest.raises(NameExists, match="existed"):
        customers.insert(Tenant(id="acme", name="another", created_at=0.0))
