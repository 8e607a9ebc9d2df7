"""Limits on the real parts: a database, a Valkey, files, and an API before them."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.assembly import assemble
from inference import wiring
from inference.access import keys
from inference.access.model import ANYBODY, Limits, Role, Scope
from inference.core import Core
from inference.errors import RateLimited
from inference.ids import DEFAULT_TENANT
from inference.settings import AccessSettings, Settings, StoreSettings
from inference.store import migrate
from inference.store.database import Database

BASE = "/api/v1/inference"


@pytest.fixture
def cores(tmp_path: Path, redis_url: str) -> Iterator[tuple[Core, Core]]:
    """Two processes of one system, as far as their limits go."""
    settings = Settings(
        data_dir=tmp_path,
        database_url=f"sqlite:///{tmp_path}/penstock.db",
        redis_url=redis_url,
        access=AccessSettings(share_every_s=0.01),
    )
    database = Database(settings.database_url, StoreSettings())
    migrate.upgrade(database)
    database.close()
    made = wiring.build(settings), wiring.build(settings)
    yield made
    for core in made:
        core.close()


def make_key(core: Core, **limits) -> str:
    scope = Scope(DEFAULT_TENANT)
    return keys.create(core.access, by=ANYBODY, name="k", role=Role.OPERATOR, scope=scope, limits=Limits(**limits)).text


def refused_for(core: Core, text: str) -> float:
    """Seconds for which a request with this key is refused; 0 when it comes through."""
    by = core.door.enter(text, address="127.0.0.1", host="localhost")
    try:
        core.door.count(by)
    except RateLimited as refusal:
        return refusal.details["retry_after_s"]
    return 0.0


def test_two_processes_hear_of_each_other_s_requests(cores: tuple[Core, Core]):
    text = make_key(cores[0], requests_per_s=0.05)

    first = [refused_for(core, text) for core in cores]
    until = time.monotonic() + 15
    while max(waits := [refused_for(core, text) for core in cores]) <= 20 and time.monotonic() < until:
        time.sleep(0.01)

    assert first == [0.0, 0.0]
    assert max(waits) > 20, "one request in twenty seconds: only the other process's can close it for longer"


def test_an_upload_stops_where_the_quota_ends_and_leaves_nothing(cores: tuple[Core, Core], tmp_path: Path):
    client = assemble(cores[0]).test_client()
    headers = {"Authorization": f"Bearer {make_key(cores[0], bytes_stored=1000)}"}

    def send(size: int):
        return client.post(f"{BASE}/uploads", data=bytes([size % 251]) * size, headers=headers)

    answers = [send(size) for size in (5000, 800, 300)]

    assert [answer.status_code for answer in answers] == [429, 201, 429]
    assert answers[2].json["details"] == {
        "of": "key",
        "quota": "bytes_stored",
        "limit": 1000,
        "used": 800,
        "retry_after_s": 60,
    }
    files = [path for path in (tmp_path / "blobs").rglob("*") if path.is_file()]
    assert [path.stat().st_size for path in files] == [800]


def test_me_tells_what_is_used(cores: tuple[Core, Core]):
    client = assemble(cores[0]).test_client()
    headers = {"Authorization": f"Bearer {make_key(cores[0], bytes_stored=1000, gpu_seconds_per_day=5)}"}
    client.post(f"{BASE}/uploads", data=b"1" * 10, headers=headers)

    answer = client.get(f"{BASE}/me", headers=headers)

    assert answer.json["used"] == {"bytes_stored": 10, "gpu_seconds_per_day": 0.0}
    assert answer.json["tenant_used"] == {"jobs_waiting": 0}


def test_usage_of_a_system_that_did_nothing_is_empty(cores: tuple[Core, Core]):
    client = assemble(cores[0]).test_client()
    headers = {"Authorization": f"Bearer {make_key(cores[0])}"}

    for group_by in ("key", "service", "day"):
        answer = client.get(f"{BASE}/usage?group_by={group_by}", headers=headers)

        assert (answer.status_code, answer.json["usage"]) == (200, [])
