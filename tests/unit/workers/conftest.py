"""A supervisor that ticks when it is told to, on a real pulse file."""

import subprocess
import sys
from types import SimpleNamespace

import pytest

from inference.errors import StoreUnavailable
from inference.jobs.model import JobState
from inference.settings import ProcessSettings, ServingSettings, Settings, WorkersSettings
from workers.pulse import Pulse
from workers.supervisor import Supervisor


class Stores:
    """Every store the supervisor touches, and what it said to each."""

    def __init__(self):
        self.renewed, self.ended, self.reaps, self.failures = [], [], 0, []
        self.asked, self.cancelled, self.disowned = [], {}, []
        self.valid, self.is_ours, self.reports, self.kicks, self.is_away = None, True, [], 0, False

    def renew(self, held, *, lease_s):
        if self.is_away:
            raise StoreUnavailable("away", part="sql")
        self.renewed.append(dict(held))
        return frozenset(held) if self.valid is None else self.valid

    def end(self, instance_id, generation):
        self.ended.append((instance_id, generation))

    def reap(self):
        self.reaps += 1
        return [("job", JobState.PENDING)]

    def unwanted(self, instances):
        self.asked.append(dict(instances))
        return {name: count for name, count in self.cancelled.items() if name in instances}

    def disown(self, by):
        self.disowned.append((by.instance_id, by.generation))
        return {"job": JobState.CANCELLED}

    def services_with_waiting(self):
        return []

    def views(self, ids):
        return []

    def note_load_failure(self, replica_id, generation, *, reason):
        self.failures.append(reason)
        return len(self.failures)

    def report(self, replica_id, generation, *, observed, instances_ready, pid, idle_s):
        self.reports.append((observed, instances_ready))
        return self.is_ours

    def reconcile(self):
        self.kicks += 1


@pytest.fixture
def stores():
    return Stores()


@pytest.fixture
def record(pulse):
    return pulse.record(0)


@pytest.fixture
def pulse(tmp_path):
    return Pulse(tmp_path / "pulse")


@pytest.fixture
def codes():
    return []


@pytest.fixture
def watch(stores, pulse, codes, monkeypatch):
    """A supervisor that ticks when it is told to, and renews at every tick."""
    settings = Settings(
        process=ProcessSettings(service_id="s", replica_id="r", replica_generation=1),
        workers=WorkersSettings(renew_s=0),
        serving=ServingSettings(load_attempts=3),
        redis_url="redis://127.0.0.1:1/0",
    )
    core = SimpleNamespace(
        settings=settings,
        jobs=SimpleNamespace(store=stores, hot=None, bell=None, directory=None),
        serving=SimpleNamespace(replicas=stores, instances=stores, kick=stores),
    )
    return Supervisor(core, pulse, slots=1, stop=codes.append)


@pytest.fixture
def child():
    """A process that only sleeps, to be killed by whoever wants to."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    yield process
    process.kill()
    process.wait()
