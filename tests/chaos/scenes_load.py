"""Too much of a good thing: a burst, and clients that never finish their sentence."""

import http.client
import json
import selectors
import socket
import threading
import time
from collections import Counter
from urllib.parse import urlsplit

import httpx
import psutil

from tests.chaos.engine import MARK, Kind, answer
from tests.chaos.world import World
from tests.system import BASE

SENDERS = 16
DRIPPING = 1_200


def burst(world: World) -> None:
    """10,000 jobs as fast as they go in: 202 or 429, and memory stays in bounds."""
    world.serve(max_batch=64, engine={"call_ms": 2, "row_ms": 0})
    world.submit_of([Kind.GOOD] * 64)
    world.works(more=5)
    before, most = memory_mb(world), [0.0]
    is_over = threading.Event()
    watch = threading.Thread(target=lambda: _watch(world, most, is_over), daemon=True)
    watch.start()
    wanted = world.times(10_000)
    statuses: Counter[int] = Counter()
    begun = time.monotonic()
    threads = [threading.Thread(target=_send, args=(world, wanted // SENDERS, statuses)) for _ in range(SENDERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sent_s = time.monotonic() - begun
    world.settle(timeout_s=90)
    is_over.set()
    watch.join()
    answered = statuses[202] + statuses[429]
    world.feel("answered_202_or_429", answered, at_least=wanted // SENDERS * SENDERS)
    world.figures |= {"burst_statuses": dict(statuses), "submits_per_s": round(wanted / sent_s)}
    world.figures["done_per_s"] = round(statuses[202] / (time.monotonic() - begun))
    world.figure("memory_growth_mb", most[0] - before, target=200, at_most=600)


def _send(world: World, count: int, statuses: Counter[int]) -> None:
    address = urlsplit(world.system.url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=60)
    path, values = f"{BASE}/services/{world.service}/tasks", world.client().values
    for _ in range(count):
        value = next(values)
        body = json.dumps({"input_data": {"x": [[value, 0, 0, MARK]]}, "priority": value % 10})
        at = time.time()
        connection.request("POST", path, body, {"Content-Type": "application/json"})
        heard = connection.getresponse()
        told = json.loads(heard.read())
        statuses[heard.status] += 1
        if heard.status not in (202, 429):
            world.client().said.append(f"{heard.status} {told}")
        world.log.write(
            at=at,
            op="submit",
            status=heard.status,
            key=None,
            ids=[told["task_id"]] if heard.status == 202 else None,
            values=[float(value)],
            answers=[answer(value, Kind.GOOD, 0)],
        )
    connection.close()


def memory_mb(world: World) -> float:
    """Of all processes of the system together, each page counted once."""
    total = 0.0
    for pid in [world.system.launcher_pid, *world.system.everything()]:
        try:
            total += psutil.Process(pid).memory_full_info().pss / 1e6
        except psutil.NoSuchProcess:
            continue
    return total


def _watch(world: World, most: list[float], is_over: threading.Event) -> None:
    while not is_over.wait(0.5):
        most[0] = max(most[0], memory_mb(world))


def slow_clients(world: World) -> None:
    """1,200 connections that send a byte now and then do not hold up health checks or submits."""
    world.serve()
    clients = world.load()
    world.works(more=20)
    quiet = _health(world, 3)
    with Dripping(world.system.url, world.service, DRIPPING) as dripping:
        begun = time.monotonic()
        loud = _health(world, world.lasting(12))
        ended = time.monotonic()
        still_open = dripping.count_open()
    world.settle()
    world.feel("connections_dripping", still_open, at_least=DRIPPING * 0.8)
    world.feel("bytes_dripped", dripping.sent, at_least=DRIPPING)
    world.feel("health_checks", len(loud), at_least=20)
    world.figures["health_p99_before_ms"] = _p99_ms(quiet)
    world.figure("health_p99_ms", _p99_ms(loud), target=500, at_most=5_000)
    p99 = clients.slowest_share_s(0.99, since=begun, until=ended)
    world.figure("submit_p99_ms", (p99 or 60) * 1000, target=500, at_most=8_000)


def _health(world: World, seconds: float) -> list[float]:
    took, end = list[float](), time.monotonic() + seconds
    with httpx.Client(base_url=world.system.url, timeout=10) as http_:
        while time.monotonic() < end:
            begun = time.monotonic()
            assert http_.get("/healthz").status_code == 200
            took.append(time.monotonic() - begun)
            time.sleep(0.03)
    return took


def _p99_ms(took: list[float]) -> float:
    return round(sorted(took)[min(len(took) - 1, int(0.99 * len(took)))] * 1000, 1)


class Dripping:
    """Connections in the middle of a header or a body, a byte every second."""

    def __init__(self, url: str, service: str, count: int) -> None:
        self._address = urlsplit(url)
        body = f"POST {BASE}/services/{service}/tasks HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\n".encode()
        header = b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: "
        self._begins = [body if number % 2 else header for number in range(count)]
        self._sockets: list[socket.socket] = []
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._drip, daemon=True)
        self.sent = 0

    def __enter__(self) -> "Dripping":
        for begin in self._begins:
            one = socket.create_connection((self._address.hostname or "", self._address.port or 0), timeout=10)
            one.sendall(begin)
            one.setblocking(False)
            self._sockets.append(one)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join(10)
        for one in self._sockets:
            one.close()

    def _drip(self) -> None:
        while not self._is_over.wait(1.0):
            for one in self._sockets:
                try:
                    self.sent += one.send(b"x")
                except OSError:
                    continue

    def count_open(self) -> int:
        """Those that the other side has neither answered nor closed."""
        with selectors.DefaultSelector() as watched:
            for one in self._sockets:
                watched.register(one, selectors.EVENT_READ)
            return len(self._sockets) - len(watched.select(0))
