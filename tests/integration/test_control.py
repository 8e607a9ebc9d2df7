"""The control process and the beat as they are started: real processes, Valkey and SQLite."""

import dataclasses
import dbm
import os
import shelve
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from inference import wiring
from inference.access.model import Scope
from inference.core import Core
from inference.errors import StoreUnavailable
from inference.ids import new_id
from inference.serving import control
from inference.serving.model import Service, ServiceConfig, ServiceState
from inference.settings import Settings, load
from inference.store import migrate
from inference.store.database import Database
from tests.contract import jobs as job_rows
from tests.services import Valkey, wait_for
from workers import publisher
from workers.queues import CONTROL_QUEUE, RECONCILE_TASK, RETENTION_TASK
from workers.tasks.control import run_retention
from workers.ticker import RECONCILE, SWEEP, Ticker


@pytest.fixture
def environ(tmp_path: Path, own_valkey: Valkey) -> dict[str, str]:
    values = {
        "PENSTOCK_DATA_DIR": str(tmp_path),
        "PENSTOCK_REDIS_URL": own_valkey.url,
        "PENSTOCK_JOBS__IDEMPOTENCY_KEEP_S": "60",
    }
    settings = load(values)
    database = Database(settings.database_url, settings.store)
    migrate.upgrade(database)
    database.close()
    return values


@pytest.fixture
def settings(environ: dict[str, str]) -> Settings:
    return load(environ)


@pytest.fixture
def core(settings: Settings) -> Iterator[Core]:
    core = wiring.build(settings)
    yield core
    core.close()


class Running:
    """`python -m MODULE` with its log in a file."""

    def __init__(self, module: str, environ: dict[str, str], *arguments: str) -> None:
        self.log = Path(environ["PENSTOCK_DATA_DIR"]) / f"{module}.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                env={**os.environ, **environ},
                cwd=environ["PENSTOCK_DATA_DIR"],
                stdout=log,
                stderr=log,
            )

    def stop(self, timeout_s: float = 20) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout_s)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def control_process(environ: dict[str, str]) -> Iterator[Running]:
    running = Running("workers.control", environ)
    yield running
    running.close()


def add_service(core: Core, *, replicas: int = 0) -> str:
    service_id = new_id()
    core.serving.services.insert(
        Service(
            id=service_id,
            tenant_id="default",
            name=service_id,
            model_id=new_id(),
            state=ServiceState.PENDING,
            config=ServiceConfig(replicas=replicas),
            revision=1,
            created_at=0.0,
            updated_at=0.0,
        )
    )
    control.start(core.serving, scope=Scope("default"), service_id=service_id)
    return service_id


def state(core: Core, service_id: str) -> ServiceState:
    return core.serving.services.get(Scope("default"), service_id).state


def runs(core: Core, service_id: str) -> bool:
    return state(core, service_id) is ServiceState.RUNNING


def test_a_control_process_reconciles_and_ends_when_asked(core: Core, control_process: Running):
    service_id = add_service(core)

    wait_for(lambda: runs(core, service_id), timeout_s=40, what=control_process.log.read_text())

    assert core.serving.ticks.age_s(RECONCILE) is not None
    wait_for(lambda: core.serving.ticks.age_s(SWEEP) is not None, timeout_s=10, what="a sweep")
    time.sleep(1)
    assert control_process.stop() == 0


def test_it_goes_on_while_the_broker_is_away_and_ends_all_the_same(
    core: Core, control_process: Running, own_valkey: Valkey
):
    first = add_service(core)
    wait_for(lambda: runs(core, first), timeout_s=40, what="the first service")
    time.sleep(1)

    own_valkey.process.kill()
    second = add_service(core)

    wait_for(lambda: runs(core, second), timeout_s=15, what="the second service, without a broker")
    assert control_process.stop() in (0, 1)


def test_a_kick_is_quicker_than_the_tick(environ: dict[str, str], core: Core, settings: Settings):
    slow = {**environ, "PENSTOCK_SERVING__RECONCILE_S": "60"}
    running = Running("workers.control", slow)
    told = publisher.connect(settings)
    try:
        wait_for(lambda: core.serving.ticks.age_s(RECONCILE) is not None, timeout_s=40, what="the first tick")
        service_id = add_service(core)

        told.kick.reconcile()

        wait_for(lambda: runs(core, service_id), timeout_s=20, what="the kicked service")
    finally:
        told.close()
        running.close()


def test_retention_removes_what_is_old_once_per_period(core: Core):
    database = Database(core.settings.database_url, core.settings.store)
    old, young = job_rows.job(), job_rows.job()
    job_rows.add_service(database)
    job_rows.queue(core.jobs.store, old, young)
    job_rows.change(database, old.id, state="completed", completed_at=time.time() - 8 * 86_400)
    job_rows.change(database, young.id, state="completed", completed_at=time.time())

    first, second = run_retention(core), run_retention(core)

    assert (first, second) == (1, 0)
    assert list(job_rows.states(database)) == [young.id]
    database.close()


def test_retention_is_a_task_of_the_control_queue(core: Core, control_process: Running, settings: Settings):
    sender = publisher.Sender(settings)
    sender.send(CONTROL_QUEUE, RETENTION_TASK, [])
    sender.send(CONTROL_QUEUE, RECONCILE_TASK, [])
    sender.drop()

    wait_for(lambda: core.serving.ticks.age_s("retention") is not None, timeout_s=40, what="retention")


def test_a_beat_starts_sends_nothing_in_a_quiet_moment_and_ends(environ: dict[str, str], own_valkey: Valkey):
    running = Running("workers.beat", environ)
    schedule = Path(environ["PENSTOCK_DATA_DIR"]) / "run"
    try:
        wait_for(lambda: list(schedule.glob("beat-schedule*")), timeout_s=40, what="the schedule file")
        time.sleep(2)

        assert running.process.poll() is None
        assert own_valkey.say("LLEN", "control") == b":0\r\n"
        assert running.stop() == 0
    finally:
        running.close()


def is_kept(schedule: Path) -> bool:
    """Whether the schedule is in its file: that is made a moment before."""
    try:
        with shelve.open(str(schedule), flag="r") as kept:
            return "retention" in kept["entries"]
    except (KeyError, ValueError, SyntaxError, EOFError, *dbm.error):
        return False


def make_due(schedule: Path) -> None:
    """As if nobody had beaten for an hour."""
    with shelve.open(str(schedule), writeback=True) as kept:
        kept["entries"]["retention"].last_run_at -= timedelta(hours=1)


def test_a_control_process_that_beats_too_catches_up_what_was_missed_and_keeps_its_file(
    core: Core, environ: dict[str, str]
):
    schedule = Path(environ["PENSTOCK_DATA_DIR"]) / "run" / "beat-schedule"
    first = Running("workers.control", environ, "--with-beat")
    try:
        wait_for(lambda: is_kept(schedule), timeout_s=40, what="the schedule in its file")
        assert first.stop() == 0
        quiet = core.serving.ticks.age_s("retention")
        make_due(schedule)
    finally:
        first.close()

    second = Running("workers.control", environ, "--with-beat")
    try:
        wait_for(lambda: core.serving.ticks.age_s("retention") is not None, timeout_s=40, what="retention")
    finally:
        second.close()

    assert quiet is None


class Broken:
    """A store that fails in a way nobody foresaw."""

    def __getattr__(self, name: str) -> object:
        raise RuntimeError("unforeseen")


def test_a_turn_never_raises(core: Core):
    ill = dataclasses.replace(core, serving=dataclasses.replace(core.serving, ticks=Broken()))  # type: ignore[arg-type]  # a stand-in
    ticker = Ticker(ill, name="t")

    ticker.turn()

    assert core.serving.ticks.age_s(RECONCILE) is None


class Counting:
    """A job store with nothing in it, that can be away; how often it was asked to reap."""

    def __init__(self) -> None:
        self.reaps, self.is_away = 0, False

    def promote(self) -> list[str]:
        if self.is_away:
            raise StoreUnavailable("away", part="sql")
        return []

    def expire(self) -> list[str]:
        return []

    def reap(self) -> list[str]:
        self.reaps += 1
        return []

    def services_with_waiting(self) -> list[tuple[str, str]]:
        return []


def test_after_an_outage_leases_are_renewed_before_any_is_called_over(core: Core, monkeypatch: pytest.MonkeyPatch):
    store = Counting()
    ticker = Ticker(dataclasses.replace(core, jobs=dataclasses.replace(core.jobs, store=store)), name="t")  # type: ignore[arg-type]  # a stand-in
    monkeypatch.setattr(ticker, "_mine", lambda *_: True)
    ticker.turn()
    usual = store.reaps

    store.is_away = True
    ticker.turn()
    store.is_away = False
    ticker.turn()
    soon = store.reaps
    ticker._away_at -= core.settings.workers.renew_s
    ticker.turn()

    assert (usual, soon, store.reaps) == (1, 1, 2)


def test_of_many_tickers_one_works_in_each_period(core: Core):
    service_id = add_service(core)
    tickers = [Ticker(core, name=str(number)) for number in range(3)]

    for ticker in tickers:
        ticker.turn()

    assert runs(core, service_id)
    assert len(core.serving.services.events(Scope("default"), service_id)) == 3
