"""Constant load for tests that break a system: clients that submit one task after another, and what they were told."""

import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType

import httpx

from tests.system import BASE, System


@dataclass(frozen=True)
class Told:
    """`status` 0: no answer. Times are monotonic seconds."""

    sent_at: float
    took_s: float
    status: int
    task_id: str = ""
    retry_after: str = ""


class Load:
    """`with Load(system, service) as load: ...`. Each client waits for its answer, and `pause_s` after it."""

    def __init__(
        self,
        system: System,
        service_id: str,
        *,
        clients: int = 4,
        pause_s: float = 0.02,
        priorities: Sequence[int] = (0, 2, 5, 9),
    ) -> None:
        self._system = system
        self._priorities = priorities
        self._path = f"{BASE}/services/{service_id}/tasks"
        self._pause_s = pause_s
        self._is_over = threading.Event()
        self._threads = [threading.Thread(target=self._send, args=(number,)) for number in range(clients)]
        self.told: list[Told] = []

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join()

    def _send(self, number: int) -> None:
        with httpx.Client(base_url=self._system.url, timeout=20) as client:
            while not self._is_over.is_set():
                body = {
                    "input_data": {"x": [[float(number)] * 4]},
                    "priority": self._priorities[number % len(self._priorities)],
                }
                begun = time.monotonic()
                try:
                    answer = client.post(self._path, json=body)
                    task_id = answer.json()["task_id"] if answer.status_code == 202 else ""
                    told = (answer.status_code, task_id, answer.headers.get("Retry-After", ""))
                except (httpx.HTTPError, ValueError):
                    told = (0, "", "")
                self.told.append(Told(begun, time.monotonic() - begun, *told))
                self._is_over.wait(self._pause_s)

    @property
    def acknowledged(self) -> list[str]:
        return [one.task_id for one in self.told if one.status == 202]

    def between(self, begin: float, end: float) -> list[Told]:
        """What was sent in that time."""
        return [one for one in self.told if begin <= one.sent_at < end]

    def statuses(self) -> dict[int, int]:
        return dict(Counter(one.status for one in self.told))


def p99_ms(told: list[Told]) -> float:
    took = sorted(one.took_s for one in told)
    return took[min(len(took) - 1, int(len(took) * 0.99))] * 1000 if took else 0.0
