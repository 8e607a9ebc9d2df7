"""The door, the list of wrong keys, and the text of a key."""

import pytest

from api import peer
from inference.access import keys, token, wrong_keys
from inference.access.door import MAX_KEY_LENGTH, allow, is_own_name
from inference.access.model import ANYBODY, Principal, Reach, Role, Scope
from inference.access.wrong_keys import MOST, WrongKeys, network
from inference.errors import (
    HostRefused,
    InvalidField,
    RoleTooLow,
    ScopeTooNarrow,
    TooManyWrongKeys,
    Unauthenticated,
)
from inference.ids import DEFAULT_TENANT
from inference.settings import AccessSettings, Settings
from tests import fakes_access

HERE = {"address": "127.0.0.1", "host": "localhost:8080"}
WRONG = f"pst_{'0' * 12}_{'0' * 64}"


@pytest.fixture
def settings():
    return Settings(access=AccessSettings(refresh_s=0.0, wrong_keys_per_minute=3))


@pytest.fixture
def access(settings):
    return fakes_access.make_access(settings)


@pytest.fixture
def door(access, settings):
    return fakes_access.make_door(access, settings)


@pytest.fixture
def key(access):
    return keys.create(access, by=ANYBODY, name="k", role=Role.VIEWER, scope=Scope(DEFAULT_TENANT)).text


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(wrong_keys, "monotonic_s", lambda: now[0])
    return now


def knock(door, text, *, times=1, address="127.0.0.1"):
    """What the door says each time."""
    said = []
    for _ in range(times):
        try:
            door.enter(text, address=address, host="localhost")
            said.append("in")
        except (Unauthenticated, TooManyWrongKeys) as refusal:
            said.append(refusal.code)
    return said


def test_an_open_system_lets_everybody_on_this_machine_in(door):
    assert door.enter(None, **HERE) is ANYBODY


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.2", "::1", peer.UNKNOWN])
def test_this_machine_is_its_loopback_and_its_sockets(door, address):
    assert door.enter(None, address=address, host="localhost") is ANYBODY


@pytest.mark.parametrize("address", ["192.0.2.1", "10.0.0.1", "2001:db8::1", "0.0.0.0"])
def test_an_open_system_behind_a_proxy_answers_nobody_from_elsewhere(door, address):
    with pytest.raises(Unauthenticated, match="its own machine only"):
        door.enter(None, address=address, host="127.0.0.1:8080")


@pytest.mark.parametrize(
    "host", ["penstock.example", "evil.test:8080", "localhost.evil.test", "127.0.0.1.evil.test", "1"]
)
def test_an_open_system_does_not_answer_to_names_that_may_be_anybodys(door, host):
    with pytest.raises(HostRefused, match="penstock key create"):
        door.enter(None, address="127.0.0.1", host=host)


@pytest.mark.parametrize(
    "host",
    ["", "localhost", "LOCALHOST:80", "a.localhost", "127.0.0.1:8080", "[::1]:8080", "192.0.2.7", "localhost."],
)
def test_its_own_names_are_localhost_and_addresses(host):
    assert is_own_name(host)


def test_with_keys_any_name_will_do(door, key):
    assert door.enter(key, address="192.0.2.1", host="penstock.example").role is Role.VIEWER


def test_without_a_key_a_closed_system_is_closed(door, key):
    del key

    with pytest.raises(Unauthenticated, match="Authorization: Bearer"):
        door.enter(None, **HERE)


def test_a_wrong_key_is_refused_on_an_open_system_too(door):
    assert knock(door, WRONG) == ["unauthenticated"]


@pytest.mark.parametrize("text", ["", "x", WRONG, "p" * (MAX_KEY_LENGTH + 1), "pst_é", "\udcff"])
def test_unknown_malformed_and_endless_keys_are_told_apart_by_nobody(door, text):
    with pytest.raises(Unauthenticated) as refusal:
        door.enter(text, **HERE)

    assert refusal.value.message == "This API key is unknown, revoked or expired."


def test_after_so_many_wrong_keys_an_address_is_not_listened_to(door, key, clock):
    said = knock(door, WRONG, times=5)

    assert said == ["unauthenticated"] * 3 + ["too_many_wrong_keys"] * 2
    assert knock(door, key) == ["too_many_wrong_keys"]
    assert knock(door, key, address="192.0.2.2") == ["in"]


def test_a_key_that_opened_from_there_before_still_opens(door, key, clock):
    assert knock(door, key) == ["in"]
    knock(door, WRONG, times=5)

    assert knock(door, key) == ["in"]
    assert knock(door, WRONG) == ["too_many_wrong_keys"]


def test_who_waits_with_a_revoked_key_has_to_go_and_is_no_guess(door, access, key, clock):
    knock(door, key)
    keys.revoke(access, by=ANYBODY, key_id=token.id_of(key))

    for _ in range(5):
        with pytest.raises(Unauthenticated):
            door.stay(key, **HERE)

    assert knock(door, WRONG) == ["unauthenticated"]


def test_wrong_keys_from_the_same_address_keep_no_revoked_key_in(door, access, key, clock):
    knock(door, key)
    keys.revoke(access, by=ANYBODY, key_id=token.id_of(key))
    knock(door, WRONG, times=5)

    with pytest.raises(Unauthenticated):
        door.stay(key, **HERE)


def test_wrong_keys_from_the_same_address_send_nobody_away_who_waits(door, key, clock):
    knock(door, WRONG, times=5)

    assert door.stay(key, **HERE).role is Role.VIEWER


def test_a_key_of_many_addresses_in_one_network_is_told_to_redis_once(door, access, key):
    for number in range(1, 6):
        knock(door, key, address=f"2001:db8::{number}")

    assert sum(name.startswith("known:") for name in access.counts.counts) == 1


def test_a_key_that_opened_on_another_process_still_opens(door, access, settings, key, clock):
    assert knock(door, key) == ["in"]
    elsewhere = fakes_access.make_door(access, settings)
    knock(elsewhere, WRONG, times=5)

    assert knock(elsewhere, key) == ["in"]
    assert knock(elsewhere, WRONG) == ["too_many_wrong_keys"]
    assert key not in repr(access.counts.counts)


def test_while_redis_is_away_a_blocked_address_is_known_to_its_own_process_alone(door, access, settings, key, clock):
    access.counts.is_away = True
    assert knock(door, key) == ["in"]
    elsewhere = fakes_access.make_door(access, settings)
    for each in (door, elsewhere):
        knock(each, WRONG, times=5)

    assert (knock(door, key), knock(elsewhere, key)) == (["in"], ["too_many_wrong_keys"])


def test_a_block_ends_with_its_minute(door, key, clock, access):
    knock(door, WRONG, times=5)
    clock[0] += 60.0
    access.counts.counts.clear()

    assert knock(door, key) == ["in"]


def test_the_refusal_says_when_to_come_back(door, clock):
    knock(door, WRONG, times=3)

    with pytest.raises(TooManyWrongKeys) as refusal:
        door.enter(WRONG, **HERE)

    assert 0 < refusal.value.details["retry_after_s"] <= 60


def test_while_redis_is_away_each_process_counts_alone(door, access, clock):
    access.counts.is_away = True

    assert knock(door, WRONG, times=4) == ["unauthenticated"] * 3 + ["too_many_wrong_keys"]
    clock[0] += 61.0
    assert knock(door, WRONG) == ["unauthenticated"]


def test_what_is_remembered_of_addresses_has_an_end(access, clock):
    access.counts.is_away = True
    watch = WrongKeys(access.counts, per_minute=0)

    for number in range(MOST + 5):
        watch.opened(f"a{number}", "k")
        with pytest.raises(TooManyWrongKeys):
            watch.strike(f"a{number}")

    assert len(watch._known) <= MOST
    assert len(watch._blocked_until) <= MOST
    assert len(watch._alone) <= MOST


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::9", "2001:db8:1:2::/64"),
        ("unknown", "unknown"),
        ("x" * 100, "x" * 64),
    ],
)
def test_an_address_is_one_ipv4_or_a_whole_ipv6_network(address, name):
    assert network(address) == name


ROLES = list(Role)


@pytest.mark.parametrize("needed", ROLES)
@pytest.mark.parametrize("held", ROLES)
def test_each_role_may_what_the_ones_before_it_may(held, needed):
    principal = Principal(name="p", role=held, scope=Scope(DEFAULT_TENANT), reach=Reach.SYSTEM)

    if ROLES.index(held) >= ROLES.index(needed):
        allow(principal, needed, Reach.SERVICE)
    else:
        with pytest.raises(RoleTooLow) as refusal:
            allow(principal, needed, Reach.SERVICE)
        assert refusal.value.details == {"role": held.value, "needed": needed.value}


@pytest.mark.parametrize("needed", list(Reach))
@pytest.mark.parametrize("held", list(Reach))
def test_a_narrow_key_does_not_act_on_what_is_wider(held, needed):
    principal = Principal(name="p", role=Role.ADMIN, scope=Scope(DEFAULT_TENANT), reach=held)

    if held < needed:
        with pytest.raises(ScopeTooNarrow):
            allow(principal, Role.VIEWER, needed)
    else:
        allow(principal, Role.VIEWER, needed)


@pytest.mark.parametrize(
    ("scope", "is_inside"),
    [
        (Scope("t"), True),
        (Scope("t", "w"), True),
        (Scope("t", None, "s"), True),
        (Scope("t", "w", "s"), True),
        (Scope("other"), False),
        (Scope("t", "other"), False),
        (Scope("t", None, "other"), False),
        (Scope("t", "other", "s"), False),
    ],
)
def test_a_scope_covers_what_is_inside_it(scope, is_inside):
    assert scope.covers(tenant_id="t", workspace="w", service_id="s") is is_inside


def test_a_text_has_a_public_id_and_256_random_bits():
    made, again = token.make(), token.make()

    assert token.id_of(made.text) == made.id
    assert made.text != again.text
    assert len(bytes.fromhex(made.text.rpartition("_")[2])) == 32
    assert token.make(made.id).id == made.id
    assert token.of(made.text).digest == made.digest == token.digest(made.text)


def test_neither_text_nor_digest_is_in_a_repr():
    made = token.make()
    shown = keys.Shown(key=None, text=made.text)

    assert made.text not in repr(made) + repr(shown)
    assert made.digest.hex() not in repr(made)


@pytest.mark.parametrize("text", ["", "pst_", WRONG[:-1], WRONG + "0", WRONG.upper(), " " + WRONG, "pst_" + "g" * 12])
def test_what_is_no_key_of_ours_is_refused(text):
    assert token.id_of(text) is None
    with pytest.raises(InvalidField):
        token.of(text)
