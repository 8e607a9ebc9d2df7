"""Four clients that never rest: what they send, in which order and how often, follows from the seed.

Each writes what it did and what it heard into the client log, in the form that `checker.py` reads.
"""

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests.chaos.engine import ENDS, MARK, Kind, answer
from tests.system import BASE

CLIENTS = 4
PRIORITIES = (0, 2, 5, 9)
BATCHES_SHARE, KEYS_SHARE, RESENT_SHARE, READ_SHARE, CANCEL_SHARE = 0.2, 0.7, 0.03, 0.1, 0.01
SHARES: Mapping[Kind, float] = {Kind.POISON: 0.001, Kind.RETRYABLE: 0.01}
EXPECTED = {202, 429, 503, 507, None}
LIMIT = 1 << 22
"""Values above are not exact when they are doubled in float32."""


class Log:
    """One JSON line per call, whole, whoever writes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("a", buffering=1)
        self._turn = threading.Lock()

    def write(self, *, at: float, **line: Any) -> None:
        """`at`: when it was sent, epoch seconds; it was answered just now."""
        with self._turn:
            self._file.write(json.dumps({"at": at, "done": time.time(), "tenant": "default"} | line) + "\n")

    def close(self) -> None:
        self._file.close()


@dataclass(frozen=True, slots=True)
class Order:
    """A request to submit: its jobs as (value, kind, anything)."""

    jobs: tuple[tuple[int, Kind, int], ...]
    priority: int
    key: str | None

    def body(self) -> dict[str, Any]:
        inputs = [{"x": [[value, kind, other, MARK]]} for value, kind, other in self.jobs]
        what = {"input_data": inputs[0]} if len(inputs) == 1 else {"input_data_list": inputs}
        return what | {"priority": self.priority}


class Values:
    """Whole numbers, each given once."""

    def __init__(self) -> None:
        self._last = 0
        self._turn = threading.Lock()

    def __next__(self) -> int:
        with self._turn:
            self._last += 1
            assert self._last < LIMIT
            return self._last

    def __iter__(self) -> Iterator[int]:
        return self


@dataclass(kw_only=True)
class Clients:
    """`rate`: requests a second by all of them. `shares`: of jobs, by kind; the rest is good."""

    url: str
    service_id: str
    log: Log
    seed: int
    rate: float = 40.0
    shares: Mapping[Kind, float] = field(default_factory=lambda: SHARES)
    cancels: float = CANCEL_SHARE
    values: Values = field(default_factory=Values)
    statuses: Counter[int | None] = field(default_factory=Counter)
    took_s: list[tuple[float, float, int | None]] = field(default_factory=list)
    without_hint: int = 0
    resent: int = 0
    said: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._is_over = threading.Event()
        self._gives_up_at = float("inf")
        self._threads = [threading.Thread(target=self._run, args=(number,), daemon=True) for number in range(CLIENTS)]
        self.troubles: list[str] = []

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self, *, patience_s: float = 30.0) -> None:
        """No new order; what had a key and no answer yet is sent again until it has one, or patience ends."""
        self._gives_up_at = time.monotonic() + patience_s
        self._is_over.set()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(patience_s + 30)
        assert not self.troubles, self.troubles[:3]

    def accepted(self) -> int:
        return self.statuses[202]

    def slowest_share_s(self, share: float, *, since: float = 0.0, until: float = float("inf")) -> float | None:
        """The quantile of how long submits took that began in this time and were answered; monotonic seconds."""
        took = sorted(s for at, s, status in self.took_s if since <= at < until and status is not None)
        return took[min(len(took) - 1, int(share * len(took)))] if took else None

    def _run(self, number: int) -> None:
        dice = random.Random(f"{self.seed}-{number}")
        try:
            with httpx.Client(base_url=self.url, timeout=10) as http:
                while not self._is_over.is_set():
                    begun = time.monotonic()
                    self._one(http, dice)
                    self._is_over.wait(max(0.0, CLIENTS / self.rate - (time.monotonic() - begun)))
        except Exception as error:
            self.troubles.append(f"client {number}: {error!r}")

    def _one(self, http: httpx.Client, dice: random.Random) -> None:
        order = self.order(dice)
        ids = self.send(http, order)
        if order.key is not None and ids and dice.random() < RESENT_SHARE:
            self.send(http, order)
        for task_id in ids:
            if dice.random() < self.cancels:
                self._cancel(http, task_id)
            elif dice.random() < READ_SHARE:
                self._read(http, task_id, wait_s=dice.choice((0, 0, 2)))

    def order(self, dice: random.Random) -> Order:
        size = dice.randint(2, 6) if dice.random() < BATCHES_SHARE else 1
        jobs = tuple((next(self.values), self._kind(dice), dice.randrange(1000)) for _ in range(size))
        key = f"order-{jobs[0][0]}" if dice.random() < KEYS_SHARE else None
        return Order(jobs, dice.choice(PRIORITIES), key)

    def made(self, kinds: Sequence[Kind], *, priority: int = 5, key: str | None = None) -> Order:
        """A request with one job of each of these kinds."""
        return Order(tuple((next(self.values), kind, 0) for kind in kinds), priority, key)

    def _kind(self, dice: random.Random) -> Kind:
        left = dice.random()
        for kind, share in self.shares.items():
            left -= share
            if left < 0:
                return kind
        return Kind.GOOD

    def send(self, http: httpx.Client, order: Order) -> list[str]:
        """The ids of the tasks; with a key it is tried until there is an answer for good."""
        while True:
            status, ids = self._try(http, order)
            if order.key is None or status not in (None, 429, 500, 502, 503, 504, 507):
                return ids
            if time.monotonic() > self._gives_up_at:
                return ids
            self.resent += 1
            time.sleep(0.2)

    def _try(self, http: httpx.Client, order: Order) -> tuple[int | None, list[str]]:
        path = f"{BASE}/services/{self.service_id}/tasks{'' if len(order.jobs) == 1 else '/batch'}"
        begun, at = time.monotonic(), time.time()
        status: int | None = None
        ids: list[str] = []
        try:
            headers = {"Idempotency-Key": order.key} if order.key else {}
            heard = http.post(path, json=order.body(), headers=headers)
            status = heard.status_code
            if status == 202:
                told = heard.json()
                ids = told["task_ids"] if "task_ids" in told else [told["task_id"]]
            elif status in (429, 503) and "retry-after" not in heard.headers:
                self.without_hint += 1
            if status not in EXPECTED and len(self.said) < 3:
                self.said.append(f"{status} {heard.text[:300]}")
        except (httpx.HTTPError, ValueError):
            status = None
        self.took_s.append((begun, time.monotonic() - begun, status))
        self.statuses[status] += 1
        self.log.write(
            at=at,
            op="submit",
            status=status,
            key=order.key,
            ids=ids or None,
            values=[float(value) for value, _, _ in order.jobs],
            answers=[answer(*job) for job in order.jobs],
            ends=[ENDS.get(kind, ["completed"]) for _, kind, _ in order.jobs],
        )
        return status, ids

    def _cancel(self, http: httpx.Client, task_id: str) -> None:
        at = time.time()
        status, told = self._ask(http, "POST", f"{BASE}/tasks/{task_id}/cancel")
        self.log.write(at=at, op="cancel", status=status, id=task_id, state=told.get("status"))

    def _read(self, http: httpx.Client, task_id: str, *, wait_s: int) -> None:
        at = time.time()
        status, told = self._ask(http, "GET", f"{BASE}/tasks/{task_id}{f'?wait={wait_s}' if wait_s else ''}")
        answered = {"answer": told["result"]} if told.get("status") == "completed" and "result" in told else {}
        self.log.write(at=at, op="read", status=status, id=task_id, state=told.get("status"), **answered)

    def _ask(self, http: httpx.Client, method: str, path: str) -> tuple[int | None, dict[str, Any]]:
        try:
            heard = http.request(method, path)
            return heard.status_code, heard.json()
        except (httpx.HTTPError, ValueError):
            return None, {}
