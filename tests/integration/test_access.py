"""Keys in a whole running system: every process, through the front."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from inference.access import token
from inference.access.model import ApiKey, Role, Scope
from inference.access.ring import KeyRing
from inference.errors import StoreUnavailable
from inference.ids import DEFAULT_TENANT
from inference.settings import AccessSettings, StoreSettings
from inference.store import migrate
from inference.store.database import Database
from inference.store.keys import SqlKeys
from tests.conftest import start
from tests.services import Postgres, wait_for
from tests.system import BASE, ROOT, System
from workers import prepare

WITHIN_S = 1.0
"""A revoked key opens nothing after so long."""
WRONG = f"pst_{'0' * 12}_{'0' * 64}"


def knock(
    system: System, path: str, key: str | None, *, source: str = "127.0.0.1", wait_s: float = 10
) -> httpx.Response:
    """One request on a connection of its own, so that either process of the API may get it."""
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    with httpx.Client(transport=httpx.HTTPTransport(local_address=source, verify=False), timeout=wait_s) as client:
        return client.get(f"{system.url}{path}", headers=headers)


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A system whose first key was made while it ran; its own hands hold that key."""
    system = System(tmp_path_factory.mktemp("system")).start()
    assert knock(system, f"{BASE}/services", None).status_code == 200
    made = system.ask("POST", f"{BASE}/keys", {"name": "admin", "role": "admin", "is_system": True}, expect=201)
    system.admin = made["key"]
    system.http.headers["Authorization"] = f"Bearer {made['key']}"
    time.sleep(WITHIN_S)
    yield system
    system.stop()


def a_key(system: System, role: str = "viewer", **more: Any) -> tuple[str, str]:
    """(id, text)."""
    made = system.ask("POST", f"{BASE}/keys", {"name": role, "role": role, **more}, expect=201)
    return made["key_id"], made["key"]


def test_the_first_key_closes_every_process(closed: System) -> None:
    task = "0" * 32
    answers = [
        knock(closed, path, None) for path in [f"{BASE}/services", "/metrics"] * 6 + [f"{BASE}/tasks/{task}?wait=1"]
    ]

    assert {answer.status_code for answer in answers} == {401}
    assert knock(closed, "/healthz", None).status_code == 200
    assert knock(closed, f"{BASE}/me", closed.admin).json()["reach"] == "system"


def test_a_revoked_key_is_refused_by_every_process_and_where_it_waits(closed: System) -> None:
    source = "127.0.0.21"
    service = closed.create(closed.register("double", path=upload(closed)), queue_while_stopped=True)
    task = closed.submit(service)
    key_id, text = a_key(closed)
    before = [knock(closed, f"{BASE}/me", text, source=source).status_code for _ in range(8)]
    waited: list[httpx.Response] = []
    poll = threading.Thread(
        target=lambda: waited.append(knock(closed, f"{BASE}/tasks/{task}?wait=30", text, source=source, wait_s=40))
    )
    poll.start()
    time.sleep(0.5)

    closed.ask("POST", f"{BASE}/keys/{key_id}/revoke", {})
    time.sleep(WITHIN_S)
    after = [knock(closed, f"{BASE}/me", text, source=source).status_code for _ in range(8)]
    live = knock(closed, f"{BASE}/tasks/{task}?wait=1", text, source=source).status_code
    closed.ask("POST", f"{BASE}/tasks/{task}/cancel", {})
    poll.join(40)

    assert before == [200] * 8
    assert after == [401] * 8
    assert live == 401
    assert waited[0].status_code == 401


def upload(system: System) -> str:
    """With keys in use, no file of the API's machine is named."""
    answer = system.http.post("/v1/uploads", content=b"a model", headers={"Content-Type": "application/octet-stream"})
    return f"upload:{answer.json()['upload_id']}"


def test_a_fresh_key_opens_at_once_on_every_process(closed: System) -> None:
    answers = []
    for number in range(4):
        _, text = a_key(closed)
        answers += [knock(closed, f"{BASE}/me", text, source=f"127.0.0.{30 + number}").status_code for _ in range(3)]

    assert answers == [200] * 12


def test_a_thousand_wrong_keys_are_looked_at_twenty_times(closed: System) -> None:
    source, text = "127.0.0.41", a_key(closed)[1]
    known = knock(closed, f"{BASE}/me", text, source=source).status_code
    seen: list[httpx.Response] = []

    def guess() -> None:
        seen.extend(knock(closed, f"{BASE}/me", token.make().text, source=source) for _ in range(125))

    guessers = [threading.Thread(target=guess) for _ in range(8)]
    began = time.monotonic()
    for thread in guessers:
        thread.start()
    for thread in guessers:
        thread.join(120)
    minutes = 1 + (time.monotonic() - began) // 60
    with ThreadPoolExecutor(8) as clients:  # many at once, so that each process is asked
        meanwhile = list(clients.map(lambda _: knock(closed, f"{BASE}/me", text, source=source).status_code, range(40)))
    refused = [answer for answer in seen if answer.status_code == 429]

    assert known == 200
    assert len(seen) == 1000
    assert 20 <= len(seen) - len(refused) <= 20 * minutes
    assert {answer.status_code for answer in seen} == {401, 429}
    assert {answer.json()["code"] for answer in refused} == {"too_many_wrong_keys"}
    assert all(0 < int(answer.headers["Retry-After"]) <= 60 for answer in refused)
    assert meanwhile == [200] * 40
    assert knock(closed, f"{BASE}/me", WRONG, source="127.0.0.42").status_code == 401


def test_the_login_for_flower_is_not_reached_from_outside(closed: System) -> None:
    assert knock(closed, "/internal/flower-login", closed.admin).status_code == 404


def test_commands_find_their_key_and_say_when_they_need_one(closed: System) -> None:
    def penstock(*arguments: str, **environ: str) -> "subprocess.CompletedProcess[str]":
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")}
        return subprocess.run(
            [sys.executable, "-m", "api.cli.main", *arguments, "--data-dir", str(closed.data)],
            cwd=ROOT, env=kept | environ, capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip

    made = penstock("key", "create", "--role", "viewer")
    without = penstock("service", "list")
    given = penstock("service", "list", PENSTOCK_API_KEY=made.stdout.strip())
    status = penstock("status")

    assert token.id_of(made.stdout.strip()) is not None
    assert (without.returncode, given.returncode, status.returncode) == (1, 0, 0)
    assert "PENSTOCK_API_KEY" in without.stderr


def test_up_refuses_to_be_reached_by_others_without_a_key(tmp_path: Path) -> None:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")}
    command = [sys.executable, "-m", "workers.launch", "up", "--port", "0", "--data-dir", str(tmp_path / "data")]

    done = subprocess.run(
        [*command, "--host", "0.0.0.0"],
        cwd=ROOT, env=environ, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip

    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == (
        "penstock: 0.0.0.0 can be reached from other machines and there is no key: make one with "
        "`penstock key create`, or bind 127.0.0.1.\n"
    )


@pytest.mark.parametrize("module", ["workers.http_host", "api.live.server"])
def test_a_single_process_refuses_to_be_reached_by_others_without_a_key(tmp_path: Path, module: str) -> None:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")}
    environ["PENSTOCK_DATA_DIR"] = str(tmp_path)
    assert prepare.main([], environ) == 0

    done = subprocess.run(
        [sys.executable, "-m", module, "--host", "0.0.0.0", "--port", "0"],
        cwd=ROOT, env=environ, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip

    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("penstock: 0.0.0.0 can be reached from other machines and there is")


def test_production_starts_with_a_key_in_a_file_and_asks_for_it(tmp_path: Path) -> None:
    system = System(tmp_path, MODE="production").start("--host", "0.0.0.0")
    try:
        text = (system.data / "admin.key").read_text().strip()
        log = (system.folder / "up.log").read_text()

        assert knock(system, f"{BASE}/me", None).status_code == 401
        assert knock(system, f"{BASE}/me", text).json()["reach"] == "system"
        assert "keys are asked for" in log
        assert f"the first admin key is in {system.data}/admin.key" in log
        assert text not in system.logs()
    finally:
        system.stop()


def test_with_the_database_away_known_keys_open_for_a_while(server_folder: Path) -> None:
    server = start(Postgres, server_folder / "postgres-to-stop")
    database = Database(server.url, StoreSettings(connect_timeout_s=1.0))
    try:
        migrate.upgrade(database)
        store = SqlKeys(database)
        made = token.make()
        shown = token.make()
        store.insert(ApiKey(id=shown.id, name="k", role=Role.VIEWER, scope=Scope(DEFAULT_TENANT)), shown.digest)
        ring = KeyRing(store, AccessSettings(refresh_s=0.1, stale_s=4.0))
        assert ring.holder(shown.text) is not None
        server.stop()

        time.sleep(0.3)
        while_away = ring.holder(shown.text)
        unknown = ring.holder(made.text)

        def is_over() -> bool:
            try:
                return ring.holder(shown.text) is None
            except StoreUnavailable:
                return True

        wait_for(is_over, timeout_s=30, what="known keys open no longer")
        assert while_away is not None
        assert unknown is None
    finally:
        database.close()
        server.stop()
