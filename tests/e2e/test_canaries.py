"""No secret and no payload turns up where it does not belong, whatever goes wrong: a whole system, marked all over."""

import os
import re
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import start
from tests.e2e.canaries import CommandLines, LockedPostgres, LockedValkey, files, is_private, look, mark
from tests.services import wait_for
from tests.system import BASE, ROOT, System, environ_of

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(240)]

VALUE, RESULT = 48127.625, 96255.25
TEXTS = ("database password", "redis password", "metadata", "bad JSON", "basic", "idempotency key", "field", "callback")
KEYS = ("admin key", "metrics key", "wrong key")
QUOTED = {"field", "idempotency key"}
"""What a client wrote may stand in the answer to that client, and nowhere else."""

MAY_HOLD = {"blobs": "artefacts and uploads, as they were sent"}
OF_ITS_OWN = {"admin.key", "blobs", "penstock", "valkey"}
"""The first key; contents; the database and its log; the broker's own file, with hot copies of results."""


@dataclass
class Marked:
    """A system that was put through everything, and what it said meanwhile, by where it said it."""

    system: System
    canaries: dict[str, str]
    said: dict[str, str] = field(default_factory=dict)
    environments: bytes = b""
    core_limits: set[str] = field(default_factory=set)

    def key(self, name: str) -> str:
        return key(self.canaries, name)

    def ask(self, method: str, path: str, *, key: str | None = None, **sent: Any) -> httpx.Response:
        """The answer, which is kept; the admin's key unless another is given."""
        headers = {"Authorization": f"Bearer {key or self.key('admin key')}"} | sent.pop("headers", {})
        answer = self.system.http.request(method, path, headers=headers, **sent)
        self.keep(f"{method} {path} {answer.status_code}", f"{answer.headers}\n{answer.text}")
        return answer

    def keep(self, where: str, text: str) -> None:
        self.said[f"{where} ({len(self.said)})"] = text

    def command(self, *words: str) -> int:
        """Runs `penstock` with the system's own environment, and keeps what it prints."""
        done = subprocess.run(
            [sys.executable, "-m", "api.cli.main", *words],
            cwd=ROOT, env=self.system._environ(), capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        self.keep(f"penstock {' '.join(words)}", f"{done.stdout}\n{done.stderr}")
        return done.returncode


def key(canaries: dict[str, str], name: str) -> str:
    """A key whose secret is the canary of this name."""
    return f"pst_{KEYS.index(name):012x}_{canaries[name]}"


@pytest.fixture(scope="module")
def marked(tmp_path_factory: pytest.TempPathFactory, server_folder: Path) -> Iterator[Marked]:
    canaries = {name: mark(name.replace(" ", "-")) for name in TEXTS}
    canaries |= {name: secrets.token_hex(32) for name in KEYS}
    canaries |= {"payload": str(VALUE), "result": str(RESULT)}
    folder = Path(tmp_path_factory.mktemp("canaries"))
    with ExitStack() as held:
        lines = held.enter_context(CommandLines())
        valkey = start(lambda place: LockedValkey(place, canaries["redis password"]), folder / "valkey")
        held.callback(valkey.stop)
        postgres = start(LockedPostgres, server_folder / "locked")
        held.callback(postgres.stop)
        system = System(
            folder / "system",
            MODE="production",
            DATABASE_URL=postgres.lock(canaries["database password"]),
            REDIS_URL=valkey.url,
            REGISTRY__MODEL_ROOTS=folder / "system",
            ACCESS__FIRST_KEY=key(canaries, "admin key"),
            ACCESS__METRICS_KEY=key(canaries, "metrics key"),
        )
        made = Marked(system, canaries)
        system.plugins["tell"] = "TellsInput"
        system.start("--flower").http.headers["Authorization"] = f"Bearer {made.key('admin key')}"
        try:
            exercise(made, postgres, valkey)
        finally:
            system.stop()
        made.keep("command lines", "\n".join(lines.seen))
        yield made


def exercise(marked: Marked, postgres: LockedPostgres, valkey: LockedValkey) -> None:
    """All that a system does in its life, and all that goes wrong in it."""
    service = work(marked)
    mistakes(marked, service)
    look_around(marked)
    crashes(marked, service)
    outages(marked, service, postgres, valkey)


def work(marked: Marked) -> str:
    """Keys, tasks, their answers, their failures; the service that ran them."""
    system = marked.system
    service = system.run("tell", value=VALUE + 1)
    broken = system.run("tell", value=VALUE - 1)
    wanted = {"name": "for one service", "role": "submitter", "service_id": service}
    made = system.ask("POST", f"{BASE}/keys", wanted, expect=201)
    marked.canaries["service key"] = made["key"].rpartition("_")[2]
    turned = system.ask("POST", f"{BASE}/keys/{made['key_id']}/rotate", {"overlap_s": 60})
    marked.canaries["rotated key"] = turned["key"].rpartition("_")[2]
    wait_for(lambda: marked.ask("GET", f"{BASE}/me", key=turned["key"]).status_code == 200, timeout_s=5, what="its key")
    for each in (service, broken):
        body = {"input_data": {"x": [[VALUE] * 4]}, "metadata": {"is": marked.canaries["metadata"]}}
        headers = {"Idempotency-Key": marked.canaries["idempotency key"] + each}
        sent = system.ask("POST", f"{BASE}/services/{each}/tasks", body, expect=202, headers=headers)
        ended = system.ask("GET", f"{BASE}/tasks/{sent['task_id']}", params={"wait": 20})
        assert ended["status"] == ("completed" if each == service else "failed"), ended
        assert marked.canaries["metadata"] in str(ended)
        assert str(RESULT if each == service else VALUE) in str(ended)
    as_it_is = {"Content-Type": "application/octet-stream"}
    system.ask("POST", f"{BASE}/uploads", [VALUE], expect=201, headers=as_it_is)
    waiting = system.submit(system.create(system.register("double"), queue_while_stopped=True), VALUE)
    marked.ask("POST", f"{BASE}/tasks/{waiting}/cancel")
    return service


def mistakes(marked: Marked, service: str) -> None:
    """What clients do wrong, each with a canary in it."""
    path, canaries = f"{BASE}/services/{service}/tasks", marked.canaries
    as_json = {"Content-Type": "application/json"}
    marked.ask("POST", path, content=f'{{"input_data": "{canaries["bad JSON"]}', headers=as_json)
    marked.ask("POST", path, json={canaries["field"]: 1})
    marked.ask("POST", path, json={"input_data": {"x": [[VALUE, "a"]]}})
    marked.ask("POST", path, json={"input_data": {"x": [[VALUE] * 4]}, "callback_url": f"ftp://{canaries['callback']}"})
    private = f"http://127.0.0.1:9/?token={canaries['callback']}"
    marked.ask("POST", path, json={"input_data": {"x": [[1] * 4]}, "callback_url": private})
    marked.ask("POST", path, json={"input_data": {"x": [[2.0] * 4]}},
               headers={"Idempotency-Key": canaries["idempotency key"] + service})  # fmt: skip
    marked.ask("GET", f"{BASE}/tasks/{'0' * 32}")
    marked.ask("GET", f"{BASE}/services/nothing")
    marked.ask("GET", "/nothing/there")
    marked.ask("PUT", "/v1/models")
    for name in ("wrong key",) * 3:
        for place in (f"{BASE}/tasks", "/metrics", "/flower/", f"{BASE}/tasks/{'0' * 32}?wait=1"):
            marked.ask("GET", place, key=marked.key(name))
    strange = {"Authorization": f"Basic {canaries['basic']}", "X-API-Key": canaries["basic"]}
    for place in (f"{BASE}/tasks", "/flower/"):
        marked.ask("GET", place, headers=strange)
    nowhere = {"name": "n", "version": "1.0.0", "framework": "double", "model_path": f"/nowhere/{canaries['field']}"}
    marked.ask("POST", "/v1/models/register", json=nowhere)


def look_around(marked: Marked) -> None:
    """All that tells of the system."""
    flower = {"Authorization": f"Bearer {marked.key('admin key')}"}
    wait_for(lambda: marked.system.http.get("/flower/api/workers").status_code == 200, timeout_s=30, what="Flower")
    jobs = "/flower/api/tasks?limit=1000"
    wait_for(lambda: "engine_failed" in marked.ask("GET", jobs).text, timeout_s=30, what="jobs in Flower")
    shown = marked.ask("GET", "/flower/api/workers?refresh=1")
    for place in ("", "tasks", "workers", "broker", *(f"worker/{name}" for name in shown.json())):
        marked.ask("GET", f"/flower/{place}", headers=flower)
    for place in ("/metrics", "/readyz", "/openapi.json", f"{BASE}/audit", f"{BASE}/keys"):
        assert marked.ask("GET", place).status_code == 200
    for form in ("jsonl", "csv"):
        marked.ask("GET", f"{BASE}/audit/export?format={form}")
    marked.keep("the node's metrics", httpx.get(marked.system.workers_url, timeout=10).text)
    assert marked.ask("GET", "/metrics", key=marked.key("metrics key")).status_code == 200
    everybody = marked.system.everything()
    marked.environments = b"".join(Path(f"/proc/{pid}/environ").read_bytes() for pid in everybody)
    marked.core_limits = {core_limit(pid) for pid in everybody}
    for words in (("status",), ("status", "--json"), ("doctor",), ("doctor", "--json")):
        marked.command(*words)


def crashes(marked: Marked, service: str) -> None:
    """A worker and the API die while a task is under way."""
    system = marked.system
    task = system.submit(service, VALUE)
    for pid in (*system.pids("engine", service), *system.pids("api"), *system.pids("control")):
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: '"completed"' in told(marked, f"{BASE}/tasks/{task}"), timeout_s=60, what="the task, run again")


def outages(marked: Marked, service: str, postgres: LockedPostgres, valkey: LockedValkey) -> None:
    """The database throws everybody out, lacks a table, and Redis goes away; each time somebody asks."""
    path, body = f"{BASE}/services/{service}/tasks", {"input_data": {"x": [[VALUE] * 4]}}

    def asked() -> None:
        for method, place, sent in (
            ("POST", path, body), ("GET", f"{BASE}/tasks", None), ("GET", "/readyz", None), ("GET", "/metrics", None),
        ):  # fmt: skip
            marked.ask(method, place, json=sent)

    postgres.rename("payloads", "hidden")
    asked()
    postgres.rename("hidden", "payloads")
    postgres.shut()
    wait_for(lambda: marked.ask("GET", "/readyz").status_code == 503, timeout_s=20, what="a database that is away")
    asked()
    marked.command("doctor")
    postgres.open()
    valkey.process.kill()
    wait_for(lambda: marked.ask("GET", "/readyz").status_code == 503, timeout_s=20, what="a broker that is away")
    asked()
    marked.command("doctor")
    valkey.start()
    wait_for(lambda: marked.ask("GET", "/readyz").status_code == 200, timeout_s=40, what="a system that is well again")


def core_limit(pid: int) -> str:
    """Soft and hard."""
    limits = Path(f"/proc/{pid}/limits").read_text()
    return next(" ".join(line.split()[4:6]) for line in limits.splitlines() if line.startswith("Max core file size"))


def told(marked: Marked, path: str) -> str:
    """What is answered there; nothing while nobody answers."""
    try:
        return marked.ask("GET", path).text
    except httpx.TransportError:
        return ""


def test_everything_was_said_that_this_looks_through(marked: Marked) -> None:
    statuses = {int(found[1]) for place in marked.said if (found := re.match(r"\S+ \S+ (\d{3}) ", place))}
    logs = {path.name for path in marked.system.data.glob("logs/*.log")}
    ids = [canary[:12] for canary in marked.canaries.values()]

    assert {200, 400, 401, 404, 405, 409, 422, 503} <= statuses
    assert {"api.log", "control.log", "flower.log", "live.log", "node.log"} <= logs
    assert len(set(ids)) == len(ids)


def test_no_log_and_no_other_file_holds_a_secret_or_a_payload(marked: Marked) -> None:
    held = files([marked.system.folder])
    data = marked.system.data
    places = {name: text for name, text in held.items() if not is_exempt(Path(name), data)}

    assert len(places) > 10
    assert look(marked.canaries, places) == []


def test_no_answer_and_no_command_tells_a_secret(marked: Marked) -> None:
    payloads = {"payload", "result", "metadata"}
    hidden = {name: text for name, text in marked.canaries.items() if name not in QUOTED | payloads}

    assert look(hidden, marked.said) == []


def test_payloads_are_in_no_figures_no_audit_no_flower_and_no_command_line(marked: Marked) -> None:
    aside = {
        place: text
        for place, text in marked.said.items()
        if re.search(r"metrics|audit|flower|readyz|command lines|penstock|keys", place)
    }

    assert len(aside) > 15
    assert look(marked.canaries, aside) == []


def test_keys_are_in_no_environment_and_no_process_leaves_a_core(marked: Marked) -> None:
    keys = {name: text for name, text in marked.canaries.items() if name.endswith("key")}

    assert look(keys, {"environments": marked.environments}) == []
    assert marked.canaries["database password"].encode() in marked.environments
    assert marked.core_limits == {"0 0"}


def test_what_would_leak_would_be_found(marked: Marked) -> None:
    for name, text in marked.canaries.items():
        assert look(marked.canaries, {"a log": f"before {text} after"}) == [f"{name} in a log: 'before {text} after'"]


def test_what_may_hold_a_secret_is_for_its_owner_alone(marked: Marked) -> None:
    data = marked.system.data
    found = [path for path in data.rglob("*") if path.is_file()]

    assert [str(path) for path in found if not is_private(path, data)] == []


def is_exempt(path: Path, data: Path) -> bool:
    return any(path.is_relative_to(data / name) for name in MAY_HOLD)


def test_a_system_that_brings_its_own_parts_keeps_secrets_in_files_of_its_owner(tmp_path: Path) -> None:
    """SQLite, the embedded broker, and a first key that nobody chose."""
    with ExitStack() as held:
        system = System(tmp_path, MODE="production", REGISTRY__MODEL_ROOTS=tmp_path).start()
        held.callback(system.stop)
        first_key = (system.data / "admin.key").read_text().strip()
        system.http.headers["Authorization"] = f"Bearer {first_key}"
        ended = system.task(system.submit(system.run("double"), VALUE), wait_s=20)
        users = {role: environ_of(system.pids(role)[0])["PENSTOCK_REDIS_URL"] for role in ("api", "node")}
    canaries = {f"password of {role}": url.partition("@")[0].rpartition(":")[2] for role, url in users.items()}
    canaries |= {"first key": first_key.rpartition("_")[2], "payload": str(VALUE), "result": str(RESULT)}

    held_by = look(canaries, files([tmp_path]))

    assert str(RESULT) in str(ended["result"])
    assert all(len(text) >= 8 for text in canaries.values())
    places = {Path(found.partition(" in ")[2].partition(": ")[0]) for found in held_by}
    assert {path.relative_to(system.data).parts[0].partition(".db")[0] for path in places} <= OF_ITS_OWN
    assert [str(path) for path in system.data.rglob("*") if path.is_file() and not is_private(path, system.data)] == []
