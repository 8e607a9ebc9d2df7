"""What the verbs on keys and tenants promise beyond what the HTTP tests ask."""

import pytest

from inference.access import acting, checks, keys, opening, tenants, token
from inference.access.model import ANYBODY, Limits, Principal, Reach, Role, Scope
from inference.errors import (
    InvalidField,
    KeysNeeded,
    RoleTooLow,
    ScopeTooNarrow,
    ServiceNotFound,
    TenantNotFound,
    WrongState,
)
from inference.ids import DEFAULT_TENANT
from inference.settings import AccessSettings, Settings
from tests import fakes_access


@pytest.fixture
def access():
    return fakes_access.make_access(Settings())


def by(role=Role.ADMIN, scope=None, reach=Reach.TENANT):
    return Principal(name="p", role=role, scope=scope or Scope(DEFAULT_TENANT), reach=reach, key_id="0" * 12)


def test_the_first_key_is_made_once(access):
    first, second = keys.first(access), keys.first(access)

    assert (first.key.role, first.key.reach) == (Role.ADMIN, Reach.SYSTEM)
    assert second is None


def test_the_first_key_may_be_chosen_beforehand_and_must_be_a_key(access):
    text = token.make().text

    with pytest.raises(InvalidField):
        keys.first(access, text="secret")
    assert keys.first(access, text=text).text == text


def test_the_key_for_figures_is_no_persons_and_is_made_once(access):
    text = token.make().text

    made, again = keys.metrics(access, text=text), keys.metrics(access, text=text)

    assert (made, again) == (True, False)
    assert keys.first(access) is not None
    (key,) = [key for key in access.keys.rows.values() if key.name == "metrics"]
    assert (key.role, key.reach) == (Role.VIEWER, Reach.SYSTEM)


def test_a_revoked_key_for_figures_is_not_taken_for_a_good_one(access):
    text = token.make().text
    keys.metrics(access, text=text)
    keys.revoke(access, by=ANYBODY, key_id=token.id_of(text))

    with pytest.raises(WrongState, match="choose another"):
        keys.metrics(access, text=text)


@pytest.mark.parametrize("role", [Role.OPERATOR, Role.ADMIN])
def test_no_key_is_made_rotated_or_revoked_by_who_may_less(access, role):
    made = keys.create(access, by=ANYBODY, name="k", role=role, scope=Scope(DEFAULT_TENANT))
    caller = by(Role.SUBMITTER)

    with pytest.raises(RoleTooLow):
        keys.create(access, by=caller, name="k", role=role, scope=Scope(DEFAULT_TENANT))
    for act in (
        lambda: keys.rotate(access, by=caller, key_id=made.key.id, overlap_s=0),
        lambda: keys.revoke(access, by=caller, key_id=made.key.id),
        lambda: keys.change(access, by=caller, key_id=made.key.id, name="n"),
    ):
        with pytest.raises(RoleTooLow):
            act()


@pytest.mark.parametrize(
    "wanted",
    [Scope("other"), Scope(DEFAULT_TENANT), Scope(DEFAULT_TENANT, "blue"), Scope(DEFAULT_TENANT, None, "s")],
)
def test_no_key_is_wider_than_its_makers(access, wanted):
    caller = by(scope=Scope(DEFAULT_TENANT, "red"), reach=Reach.WORKSPACE)

    with pytest.raises(ScopeTooNarrow):
        keys.create(access, by=caller, name="k", role=Role.VIEWER, scope=wanted)


def test_what_a_scope_leaves_open_is_the_makers_own():
    caller = by(scope=Scope(DEFAULT_TENANT, "red", "s"), reach=Reach.SERVICE)

    assert keys.narrowed(caller, tenant_id=None, workspace=None, service_id=None) == caller.scope
    with pytest.raises(ServiceNotFound):
        keys.narrowed(caller, tenant_id=None, workspace=None, service_id="another")
    with pytest.raises(TenantNotFound):
        keys.narrowed(caller, tenant_id="acme", workspace=None, service_id=None)
    assert keys.narrowed(ANYBODY, tenant_id="acme", workspace="w", service_id=None) == Scope("acme", "w")


def test_a_key_names_who_made_it(access):
    by_key = keys.create(access, by=by(), name="k", role=Role.VIEWER, scope=Scope(DEFAULT_TENANT))
    by_person = keys.create(access, by=ANYBODY, name="k", role=Role.VIEWER, scope=Scope(DEFAULT_TENANT))

    assert (by_key.key.created_by, by_person.key.created_by) == ("0" * 12, ANYBODY.name)


@pytest.mark.parametrize("name", ["", "x" * 129, "a\nb", " a", "a "])
def test_names_are_printable(access, name):
    with pytest.raises(InvalidField):
        keys.create(access, by=ANYBODY, name=name, role=Role.VIEWER, scope=Scope(DEFAULT_TENANT))
    with pytest.raises(InvalidField):
        tenants.create(access, tenant_id="acme", name=name)


@pytest.mark.parametrize(
    "limits",
    [
        Limits(requests_per_s=-1),
        Limits(bytes_stored=10**16),
        Limits(weight=0),
        Limits(weight=1001),
        Limits(jobs_waiting=-5),
    ],
)
def test_impossible_limits_are_refused(access, limits):
    with pytest.raises(InvalidField, match="limits"):
        checks.limits(limits)
    with pytest.raises(InvalidField):
        tenants.change(access, by=ANYBODY, tenant_id=DEFAULT_TENANT, limits=limits)


@pytest.mark.parametrize("tenant_id", ["", "A", "none", "x" * 100])
def test_an_unknown_tenant_is_not_found(access, tenant_id):
    for act in (
        lambda: tenants.get(access, tenant_id=tenant_id),
        lambda: tenants.change(access, by=ANYBODY, tenant_id=tenant_id, name="n"),
        lambda: tenants.delete(access, by=ANYBODY, tenant_id=tenant_id),
        lambda: keys.create(access, by=ANYBODY, name="k", role=Role.VIEWER, scope=Scope(tenant_id)),
    ):
        with pytest.raises(TenantNotFound):
            act()


@pytest.mark.parametrize(
    ("host", "is_public"),
    [
        ("127.0.0.1", False),
        ("127.8.8.8", False),
        ("localhost", False),
        ("::1", False),
        ("[::1]", False),
        ("0.0.0.0", True),
        ("::", True),
        ("", True),
        ("192.0.2.1", True),
        ("gpu-box", True),
    ],
)
def test_only_loopback_cannot_be_reached_by_others(host, is_public):
    assert opening.is_public(host) is is_public


@pytest.mark.parametrize(
    ("must", "host", "has_keys", "asks"),
    [
        (True, "0.0.0.0", False, True),
        (False, "127.0.0.1", False, False),
        (False, "0.0.0.0", True, True),
    ],
)
def test_a_listener_that_others_reach_asks_for_keys(must, host, has_keys, asks):
    settings = Settings(access=AccessSettings(require_keys=must))

    assert opening.must_ask(settings, host, is_closed=lambda: has_keys) is asks


def test_a_listener_that_others_reach_is_refused_without_a_key():
    with pytest.raises(KeysNeeded, match=r"can be reached from other machines and there is no key: make one with"):
        opening.must_ask(Settings(), "0.0.0.0", is_closed=lambda: False)


def test_who_acts_from_the_command_line_has_a_name(monkeypatch):
    monkeypatch.setattr(acting.getpass, "getuser", lambda: "you")
    named = acting.local("penstock key create")

    def nobody():
        raise KeyError("uid")

    monkeypatch.setattr(acting.getpass, "getuser", nobody)
    unnamed = acting.local("x")

    assert (named.kind, named.id, named.address, named.operation) == ("cli", "you", "local", "penstock key create")
    assert unnamed.id.isdecimal()


def test_a_key_of_a_workspace_frees_neither_itself_nor_its_own_keys_of_limits(access):
    own = Limits(requests_per_s=5, weight=0.5)
    made = keys.create(access, by=ANYBODY, name="a", role=Role.ADMIN, scope=Scope(DEFAULT_TENANT, "red"), limits=own)
    by = fakes_access.make_door(access, Settings()).enter(made.text, address="127.0.0.1", host="")

    freed = keys.change(access, by=by, key_id=made.key.id, limits=Limits(jobs_waiting=3, weight=9.0))
    another = keys.create(access, by=by, name="b", role=Role.ADMIN, scope=made.key.scope)
    with pytest.raises(ScopeTooNarrow, match="above 5"):
        keys.create(access, by=by, name="c", role=Role.ADMIN, scope=made.key.scope, limits=Limits(requests_per_s=6))

    assert freed.limits == Limits(requests_per_s=5, jobs_waiting=3, weight=0.5)
    assert another.key.limits == own
    assert keys.change(access, by=ANYBODY, key_id=made.key.id, limits=Limits()).limits == Limits()
