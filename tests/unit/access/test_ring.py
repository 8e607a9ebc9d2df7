"""What one process knows of keys: how old it may be, and what it costs to look."""

import threading
import time

import pytest

from inference import waiting
from inference.access import keys, ring, token
from inference.access.model import ANYBODY, Limits, Reach, Role, Scope, Tenant
from inference.access.ring import KeyRing
from inference.errors import StoreUnavailable
from inference.ids import DEFAULT_TENANT
from inference.settings import AccessSettings, Settings
from tests import fakes_access

WRONG = f"pst_{'0' * 12}_{'0' * 64}"


class Clock:
    """Both clocks of the ring, moved by hand."""

    def __init__(self):
        self.now = 1_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr(ring, "monotonic_s", made)
    return made


@pytest.fixture
def access():
    return fakes_access.make_access(Settings())


def ring_of(access, **settings):
    return KeyRing(access.keys, AccessSettings(**settings))


def make(access, role=Role.OPERATOR, scope=None, **options):
    return keys.create(access, by=ANYBODY, name="k", role=role, scope=scope or Scope(DEFAULT_TENANT), **options)


def test_a_key_opens_with_its_role_scope_and_limits(access, clock):
    access.tenants.insert(Tenant(id="acme", name="Acme", created_at=0.0, limits=Limits(jobs_waiting=9)))
    made = make(access, Role.VIEWER, Scope("acme", "red"), limits=Limits(requests_per_s=2))

    holder = ring_of(access).holder(made.text)

    assert (holder.key_id, holder.role, holder.scope) == (made.key.id, Role.VIEWER, Scope("acme", "red"))
    assert (holder.reach, holder.limits.requests_per_s, holder.tenant_limits.jobs_waiting) == (Reach.WORKSPACE, 2, 9)


def test_nothing_is_read_again_within_the_time_of_a_refresh(access, clock):
    known = make(access).text
    door = ring_of(access, refresh_s=0.5)

    for _ in range(100):
        door.holder(known)
        door.is_closed()
    clock.now += 0.5
    door.holder(known)

    assert access.keys.reads == 2


def test_a_revoked_key_is_refused_after_the_next_refresh(access, clock):
    made = make(access)
    door = ring_of(access, refresh_s=0.5)
    assert door.holder(made.text) is not None

    keys.revoke(access, by=ANYBODY, key_id=made.key.id)
    clock.now += 0.5

    assert door.holder(made.text) is None


def test_a_key_made_a_moment_ago_opens_at_once(access, clock):
    door = ring_of(access, refresh_s=0.5)
    door.is_closed()
    clock.now += 0.001

    made = make(access)

    assert door.holder(made.text) is not None


def test_wrong_keys_that_come_together_are_looked_for_together(access):
    door = ring_of(access, refresh_s=60.0)
    door.is_closed()
    reading, go_on = threading.Event(), threading.Event()
    read = access.keys.changes

    def slowly(since):
        reading.set()
        go_on.wait(5)
        return read(since)

    access.keys.changes = slowly
    crowd = [threading.Thread(target=door.holder, args=(WRONG,)) for _ in range(9)]
    crowd[0].start()
    reading.wait(5)
    for thread in crowd[1:]:
        thread.start()
    time.sleep(0.05)
    go_on.set()
    for thread in crowd:
        thread.join(5)

    assert access.keys.reads <= 1 + 1 + 2  # at the start, for the first, and for those who came while that was read


def test_a_wrong_secret_and_an_unknown_id_take_the_same_steps(access, clock, monkeypatch):
    made = make(access)
    door = ring_of(access)
    right = made.text
    steps = []
    digest, read = token.digest, access.keys.changes
    monkeypatch.setattr(ring.token, "digest", lambda text: steps.append("digest") or digest(text))
    monkeypatch.setattr(access.keys, "changes", lambda since: steps.append("changes") or read(since))

    class Holders(dict):
        def get(self, key):
            steps.append("look")
            return super().get(key)

    door.is_closed()
    door._holders = Holders(door._holders)
    taken = {}
    for name, text in (("unknown id", WRONG), ("wrong secret", right[:-1] + ("0" if right[-1] != "0" else "1"))):
        clock.now += 0.001
        steps.clear()
        assert door.holder(text) is None
        taken[name] = list(steps)

    assert taken["unknown id"] == taken["wrong secret"] == ["digest", "look", "changes", "look"]


@pytest.mark.parametrize("until", ["expires_at", "previous_until"])
def test_a_key_ends_at_its_time_by_the_databases_clock(access, clock, monkeypatch, until):
    now = Clock()
    monkeypatch.setattr(ring, "epoch_s", now)
    made = make(access, expires_at=None)
    digest = token.digest(made.text)
    key = access.keys.rows[made.key.id]
    if until == "expires_at":
        access.keys.rows[made.key.id] = fakes_access.dataclasses.replace(key, expires_at=2_000.0)
    else:
        access.keys.digests[made.key.id] = ((b"another", None), (digest, 2_000.0))
    monkeypatch.setattr(fakes_access.time, "time", lambda: now.now + 100)  # the database is ahead of us
    door = ring_of(access)

    now.now = 1_899.0
    before = door.holder(made.text)
    now.now = 1_900.0
    after = door.holder(made.text)

    assert (before is None, after is None) == (False, True)


def test_a_clock_that_is_set_back_gives_a_key_no_more_time(access, clock, monkeypatch):
    now = Clock()
    monkeypatch.setattr(ring, "epoch_s", now)
    monkeypatch.setattr(fakes_access.time, "time", now)
    made = make(access)
    access.keys.rows[made.key.id] = fakes_access.dataclasses.replace(made.key, expires_at=1_060.0)
    door = ring_of(access)
    before = door.holder(made.text)

    now.now -= 3_600
    clock.now += 61

    assert before is not None
    assert door.holder(made.text) is None


def test_revoked_keys_are_not_gone_through_again_at_each_change(access, clock):
    gone = make(access)
    keys.revoke(access, by=ANYBODY, key_id=gone.key.id)
    kept = make(access)

    door = ring_of(access)

    assert door.holder(kept.text) is not None
    assert door.holder(gone.text) is None
    assert list(door._keys) == [kept.key.id]


def test_rotation_lets_both_texts_in_until_the_overlap_is_over(access, clock):
    old = make(access)
    new = keys.rotate(access, by=ANYBODY, key_id=old.key.id, overlap_s=60)
    newest = keys.rotate(access, by=ANYBODY, key_id=old.key.id, overlap_s=60)

    door = ring_of(access)

    assert door.holder(old.text) is None
    assert door.holder(new.text).key_id == old.key.id
    assert door.holder(newest.text).key_id == old.key.id


def test_a_disabled_tenants_keys_open_nothing_until_it_is_enabled(access, clock):
    access.tenants.insert(Tenant(id="acme", name="Acme", created_at=0.0))
    made = make(access, scope=Scope("acme"))
    door = ring_of(access, refresh_s=0.5)

    access.tenants.change("acme", is_disabled=True)
    disabled = door.holder(made.text)
    access.tenants.change("acme", is_disabled=False)
    clock.now += 0.5

    assert disabled is None
    assert door.holder(made.text) is not None


def test_a_key_of_a_service_does_not_close_the_system_and_a_persons_does_for_good(access, clock):
    door = ring_of(access, refresh_s=0.5)
    make(access, is_for_service=True)
    open_still = door.is_closed()

    made = make(access)
    clock.now += 0.5
    closed = door.is_closed()
    keys.revoke(access, by=ANYBODY, key_id=made.key.id)
    clock.now += 0.5

    assert (open_still, closed, door.is_closed()) == (False, True, True)


def test_a_system_that_must_ask_is_closed_before_its_first_key(access, clock):
    assert ring_of(access, require_keys=True).is_closed()


def test_with_the_database_away_known_keys_open_for_a_while_and_no_longer(access, clock):
    known = make(access).text
    door = ring_of(access, refresh_s=0.5, stale_s=60)
    door.holder(known)
    access.keys.is_away = True

    clock.now += 59.0
    while_away = door.holder(known)
    unknown = door.holder(WRONG)
    clock.now += 2.0

    assert while_away is not None
    assert unknown is None
    with pytest.raises(StoreUnavailable):
        door.holder(known)
    access.keys.is_away = False
    clock.now += 0.5
    assert door.holder(known) is not None


def test_before_anything_is_known_nobody_is_let_in(access, clock):
    access.keys.is_away = True
    door = ring_of(access)

    with pytest.raises(StoreUnavailable):
        door.holder(WRONG)
    with pytest.raises(StoreUnavailable):
        door.is_closed()


def test_while_one_thread_reads_the_others_go_on_with_what_is_known(access, clock):
    known = make(access).text
    door = ring_of(access, refresh_s=0.5)
    door.holder(known)
    reading, go_on = threading.Event(), threading.Event()
    read = access.keys.changes

    def slowly(since):
        reading.set()
        go_on.wait(5)
        return read(since)

    access.keys.changes = slowly
    clock.now += 0.6
    first = threading.Thread(target=door.holder, args=(known,))
    first.start()
    reading.wait(5)

    meanwhile = door.holder(known)
    go_on.set()
    first.join(5)

    assert meanwhile is not None


def test_a_loop_waits_for_no_refresh_while_what_it_knows_is_fresh_enough(access, clock):
    known = make(access).text
    opened = ring_of(access, refresh_s=0.5)
    opened.holder(known)
    read_by, changes = list[int](), access.keys.changes
    access.keys.changes = lambda epoch: read_by.append(threading.get_ident()) or changes(epoch)

    waiting.forbid_here()
    clock.now += 0.6
    holders = [opened.holder(known) for _ in range(3)]
    waiting.allow_again()

    assert None not in holders
    assert len(read_by) == 1
    assert read_by[0] != threading.get_ident()
