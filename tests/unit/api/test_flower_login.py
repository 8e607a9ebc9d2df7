"""What the front is told about somebody who wants to see Flower."""

import base64
from pathlib import Path

import pytest

from inference.access import keys
from inference.access.model import ANYBODY, Role, Scope
from inference.ids import DEFAULT_TENANT
from inference.settings import AccessSettings, Settings
from tests import fakes

PATH = "/internal/flower-login"


@pytest.fixture
def core():
    """One whose door reads again before each request."""
    made = fakes.make_core(Settings(data_dir=Path("/nowhere"), access=AccessSettings(refresh_s=0.0)))
    yield made
    made.close()


def make(core, role=Role.OPERATOR, *, is_system=True):
    return keys.create(
        core.access, by=ANYBODY, name="k", role=role, scope=Scope(DEFAULT_TENANT), is_system=is_system
    ).text


def shown(key):
    """A key in each way in which it may be shown."""
    basic = base64.b64encode(f"any:{key}".encode()).decode()
    return [{"Authorization": f"Bearer {key}"}, {"X-API-Key": key}, {"Authorization": f"Basic {basic}"}]


def test_an_operator_of_the_system_comes_in_by_bearer_header_and_password(client, core):
    key = make(core)

    answers = [client.get(PATH, headers=headers) for headers in shown(key)]

    assert [(answer.status_code, answer.data) for answer in answers] == [(204, b"")] * 3


def test_everybody_comes_in_while_the_system_is_open(client):
    assert client.get(PATH).status_code == 204


def test_without_a_key_a_browser_is_asked_for_one(client, core):
    make(core)

    answer = client.get(PATH)

    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == 'Basic realm="penstock"'
    assert answer.json["code"] == "unauthenticated"


@pytest.mark.parametrize("role", [Role.VIEWER, Role.SUBMITTER])
def test_lower_roles_see_no_flower(client, core, role):
    answer = client.get(PATH, headers={"X-API-Key": make(core, role)})

    assert (answer.status_code, answer.json["code"]) == (403, "role_too_low")


def test_a_key_of_one_tenant_sees_no_flower(client, core):
    answer = client.get(PATH, headers={"X-API-Key": make(core, Role.ADMIN, is_system=False)})

    assert (answer.status_code, answer.json["code"]) == (403, "scope_too_narrow")


@pytest.mark.parametrize("way", range(3))
def test_wrong_keys_count_and_then_nobody_listens(client, core, way):
    make(core)
    headers = shown("pst_000000000000_" + "0" * 64)[way]

    said = [client.get(PATH, headers=headers) for _ in range(22)]

    assert [answer.status_code for answer in said] == [401] * 20 + [429] * 2
    assert said[0].headers["WWW-Authenticate"].startswith("Basic")
    assert int(said[-1].headers["Retry-After"]) > 0


@pytest.mark.parametrize(
    "text", ["Basic", "Basic !", "Basic bm9jb2xvbg==", "Basic " + "a" * 5000, "Digest x", "Basic ÿ"]
)
def test_a_login_that_cannot_be_read_is_no_login(client, core, text):
    make(core)

    assert client.get(PATH, headers={"Authorization": text}).status_code == 401


def test_it_is_not_in_the_documentation(client):
    assert not [path for path in client.get("/openapi.json").json["paths"] if "internal" in path]
