"""What the hot path knows of services: read once a second, and on a loop before anybody has to wait."""

import threading
from types import SimpleNamespace

import pytest

from inference import waiting
from inference.access.model import Scope
from inference.errors import StoreUnavailable
from inference.ids import DEFAULT_TENANT
from inference.jobs import directory
from inference.jobs.directory import CachedDirectory

SCOPE = Scope(DEFAULT_TENANT)


class Clock:
    now = 1_000.0

    def __call__(self):
        return self.now


class Store:
    """Of one service and its model; tells which threads asked."""

    def __init__(self):
        self.threads = []
        self.is_away = False

    def get(self, scope, wanted):
        if wanted == "s":
            self.threads.append(threading.get_ident())
        if self.is_away:
            raise StoreUnavailable("Away.", part="sql", retry_after_s=1)
        return SimpleNamespace(id=wanted, model_id="m", revision=len(self.threads))


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr(directory, "monotonic_s", made)
    return made


def test_what_is_known_is_read_again_after_a_second(clock):
    store = Store()
    known = CachedDirectory(store, store)

    found = [(known.find(SCOPE, "s")[0].revision, setattr(clock, "now", clock.now + 0.7))[0] for _ in range(4)]

    assert found == [1, 1, 2, 2]


@pytest.mark.parametrize("is_away", [False, True])
def test_on_a_loop_another_thread_reads_before_anybody_has_to_wait(clock, is_away):
    store = Store()
    known = CachedDirectory(store, store)
    known.find(SCOPE, "s")

    waiting.forbid_here()
    store.is_away = is_away
    clock.now += 0.7
    found = [known.find(SCOPE, "s")[0].revision for _ in range(3)]
    waiting.allow_again()

    assert found[0] == 1
    assert store.threads[1:]
    assert threading.get_ident() not in store.threads[1:]
    assert known.find(SCOPE, "s")[0].revision == (1 if is_away else len(store.threads))
