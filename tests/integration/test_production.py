"""A whole system in production mode: every role comes to the broker under its own name, and that is enough for it."""

import os
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from kombu import Connection

from inference.access import token
from inference.settings import Settings
from tests.system import BASE, System, environ_of, wait_for
from workers.app import make_app
from workers.publisher import Sender
from workers.queues import CONTROL_QUEUE, service_queue

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

REFUSED = {
    "shutdown": {},
    "pool_restart": {"reload": True},
    "pool_shrink": {"n": 1},
    "revoke": {"task_id": "a"},
    "terminate": {"signal": "KILL", "task_id": "a"},
    "rate_limit": {"task_name": "penstock.drain", "rate_limit": "1/h"},
    "time_limit": {"task_name": "penstock.drain", "hard": 1},
    "add_consumer": {"queue": "mine"},
    "cancel_consumer": {"queue": "control"},
    "autoscale": {"max": 1, "min": 1},
    "disable_events": {},
    "memdump": {},
}


class Bomb:
    """Unpickled, it leaves a folder."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.mark),)


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    key = token.make().text
    folder = Path(tmp_path_factory.mktemp("production"))
    started = System(
        folder,
        MODE="production",
        ACCESS__FIRST_KEY=key,
        ACCESS__REQUESTS_PER_S=10_000,
        REGISTRY__MODEL_ROOTS=folder,
    ).start("--flower")
    started.http.headers["Authorization"] = f"Bearer {key}"
    yield started
    started.stop()


@pytest.fixture(scope="module")
def service(system: System) -> str:
    return system.run("double")


def url_of(system: System, role: str) -> str:
    """How a role comes to the broker."""
    return environ_of(system.pids(role)[0])["PENSTOCK_BROKER_URL"]


def denials(system: System) -> dict[str, int]:
    """What the broker has refused since it started, by kind."""
    client = redis.Redis.from_url(url_of(system, "flower"))
    found: Any = client.info("stats")
    client.close()
    return {name: found[name] for name in found if name.startswith("acl_access_denied") and found[name]}


class Workers:
    """The control worker and that of one service, as Flower may speak to them."""

    def __init__(self, system: System, service: str) -> None:
        url = url_of(system, "flower")
        self.app = make_app(Settings(redis_url=url, broker_url=url))
        self._service = service
        wait_for(self._find, timeout_s=30, what="both workers")
        self.names = self._find()

    def _find(self) -> list[str]:
        found = [name for answer in self.app.control.ping(timeout=2) or [] for name in answer]
        named = [name for name in found if name.startswith((self._service, "control."))]
        return named if len(named) == 2 else []

    def ask(self, method: str, arguments: dict[str, Any] | None = None) -> list[Any]:
        """What each of the two answers to a command of remote control."""
        arguments = arguments or {}
        answers = self.app.control.broadcast(
            method, arguments=arguments, destination=self.names, reply=True, timeout=5, limit=2
        )
        return [answer for one in answers for answer in one.values()]


@pytest.fixture(scope="module")
def workers(system: System, service: str) -> Iterator[Workers]:
    found = Workers(system, service)
    yield found
    found.app.close()


def test_each_role_has_its_own_user_and_only_those_with_business_at_the_broker_have_one(system: System) -> None:
    users = {}
    for role in ("front", "broker", "api", "live", "control", "node", "flower"):
        environ = environ_of(system.pids(role)[0])
        users[role] = environ.get("PENSTOCK_REDIS_URL", "").partition("://")[2].partition(":")[0]
    written = [path.read_text(errors="replace") for path in (system.data / "run").iterdir() if path.is_file()]
    password = url_of(system, "api").partition("api:")[2].partition("@")[0]

    assert users == {
        "front": "", "broker": "", "api": "api", "live": "api",
        "control": "worker", "node": "worker", "flower": "monitor",
    }  # fmt: skip
    assert len(password) == 48
    assert not any(password in text for text in written)
    assert all(path.stat().st_mode & 0o077 == 0 for path in (system.data / "run").iterdir() if path.is_file())


def test_jobs_run_a_service_is_scaled_and_stopped_flower_sees_it_and_nothing_is_denied(system: System) -> None:
    flower, service = system.flower_url.rstrip("/"), system.run("double")
    tasks = system.submit_many(service, range(20))
    counts = system.until_done(service, timeout_s=30)
    system.ask("POST", f"{BASE}/services/{service}/scale", {"replicas": 1, "instances": 2})
    wait_for(lambda: len(system.pids("engine", service)) == 2, timeout_s=30, what="two instances")

    def seen_by_flower() -> bool:
        answer = system.http.get(f"{flower}/api/workers", params={"refresh": 1})
        names = list(answer.json()) if answer.status_code == 200 else []
        return any(name.startswith(service) for name in names) and any(name.startswith("control.") for name in names)

    wait_for(seen_by_flower, timeout_s=30, what="both kinds of worker in Flower")
    shown = system.http.get(f"{flower}/api/tasks", params={"limit": 1000}).json()
    queues = system.http.get(f"{flower}/api/queues/length").json()["active_queues"]
    wrong = system.http.get("/v1/models", headers={"Authorization": f"Bearer {token.make().text}"})
    system.ask("POST", f"{BASE}/services/{service}/stop")
    wait_for(lambda: system.show(service)["status"] == "stopped", timeout_s=30, what="stopped")

    assert counts == {"completed": 20}
    assert wrong.status_code == 401
    assert set(tasks) <= set(shown)
    assert {service_queue(service), CONTROL_QUEUE} <= {queue["name"] for queue in queues}
    assert denials(system) == {}


def test_what_flower_asks_is_answered_without_a_password_in_it(system: System, workers: Workers) -> None:
    answers = {method: workers.ask(method) for method in ("stats", "conf", "active_queues", "registered", "active")}

    assert all(len(answer) == 2 for answer in answers.values())
    assert all("error" not in said for answer in answers.values() for said in answer)
    for role in ("control", "flower", "api"):
        password = url_of(system, role).partition("://")[2].partition(":")[2].partition("@")[0]
        assert password not in str(answers)


@pytest.mark.parametrize("command", REFUSED)
def test_a_command_that_nobody_here_uses_does_nothing(system: System, workers: Workers, command: str) -> None:
    before = {role: system.pids(role) for role in ("control", "worker", "engine")}

    answers = workers.ask(command, REFUSED[command])

    assert [set(answer) for answer in answers] == [{"error"}, {"error"}]
    assert workers.ask("ping") == [{"ok": "pong"}] * 2
    assert {role: system.pids(role) for role in before} == before


@pytest.mark.parametrize("place", ["queue", "remote control"])
def test_a_pickled_message_is_refused_and_the_worker_lives(
    system: System, service: str, workers: Workers, tmp_path: Path, place: str
) -> None:
    mark = tmp_path / "mark"
    before = system.pids("control") + system.pids("worker")
    body = pickle.dumps(((Bomb(mark),), {}, {}))
    kind = {"content_type": "application/x-python-serialize", "content_encoding": "binary"}

    with Connection(url_of(system, "control" if place == "queue" else "flower")) as connection:
        producer = connection.Producer()
        if place == "queue":
            headers = {"lang": "py", "task": "penstock.reconcile", "id": "a-pickle", "root_id": "a-pickle"}
            for queue in (CONTROL_QUEUE, service_queue(service)):
                producer.publish(body, exchange="", routing_key=queue, headers=headers, **kind)
        else:
            fanout = workers.app.control.mailbox.exchange
            producer.publish(body, exchange=fanout, declare=[fanout], **kind)
    job = system.submit(service, 3)

    assert system.task(job, wait_s=20)["status"] == "completed"
    assert workers.ask("ping") == [{"ok": "pong"}] * 2
    logs = [path.read_text(errors="replace") for path in system.data.glob("logs/*.log")]
    assert sum("pickle" in log for log in logs) >= 2
    assert not mark.exists()
    assert system.pids("control") + system.pids("worker") == before


def test_a_task_that_nobody_knows_is_dropped_and_the_worker_lives(system: System, workers: Workers) -> None:
    before = system.pids("control")
    url = url_of(system, "control")
    sender = Sender(Settings(redis_url=url, broker_url=url))

    sender.send(CONTROL_QUEUE, "not.ours", [])
    sender.drop()

    log = system.data / "logs" / "control.log"
    wait_for(lambda: "not.ours" in log.read_text(errors="replace"), timeout_s=20, what="a word about it")
    assert workers.ask("ping") == [{"ok": "pong"}] * 2
    assert system.pids("control") == before
    assert denials(system) == {}


def test_after_all_this_no_password_of_the_broker_is_in_a_file_or_an_argument_list(system: System) -> None:
    urls = {url_of(system, role) for role in ("api", "control", "flower")}
    passwords = {url.partition("://")[2].partition(":")[2].partition("@")[0] for url in urls}
    files = [path for path in (*system.data.rglob("*"), *system.folder.glob("*.*")) if path.is_file()]
    lines = [Path(f"/proc/{pid}/cmdline") for pid in system.everything()]

    held = [(str(path), text) for path in (*files, *lines) for text in (path.read_bytes(),)]

    assert len(passwords) == 3
    assert [name for name, text in held for password in passwords if password.encode() in text] == []
