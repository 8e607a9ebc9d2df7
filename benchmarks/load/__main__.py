"""The load generator's process: reads one order on stdin, carries it out, prints one JSON object on stdout.

It is a process of its own so that nothing else that the benchmark does takes time from it.
"""

import gc
import itertools
import json
import sys
import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks.load.loops import TASK_ID, Trip, Wires, arrivals, closed, paced, poisson
from benchmarks.load.wire import Answer, Wire, prepare
from benchmarks.percentiles import quantiles_ms

Order = dict[str, Any]


class Tally:
    """What came back: statuses, times, ids, and the first few answers that were not as hoped."""

    def __init__(self, expected: int) -> None:
        self.expected = expected
        self.statuses: Counter[int] = Counter()
        self.seconds: list[float] = []
        self.bodies: list[bytes] = []
        self.odd: list[str] = []

    def add(self, answer: Answer, elapsed_s: float) -> None:
        self.statuses[answer.status] += 1
        self.seconds.append(elapsed_s)
        if answer.status == self.expected:
            self.bodies.append(answer.body)
        elif len(self.odd) < 5:
            self.odd.append(f"{answer.status} {answer.body[:300].decode(errors='replace')}")

    def summary(self, elapsed_s: float) -> dict[str, Any]:
        return {
            "requests": len(self.seconds),
            "elapsed_s": elapsed_s,
            "rate": len(self.seconds) / elapsed_s,
            "statuses": {str(status): count for status, count in self.statuses.items()},
            "answer_ms": quantiles_ms(self.seconds),
            "unexpected": self.odd,
        }


def _feed(requests: list[bytes], *, count: int | None, seconds: float | None) -> Callable[[], bytes | None]:
    """The next request, round and round, until so many were given or the time is over."""
    supply = itertools.cycle(requests) if count is None else itertools.islice(itertools.cycle(requests), count)
    if seconds is None:
        return lambda: next(supply, None)
    end = time.perf_counter() + seconds
    return lambda: next(supply, None) if time.perf_counter() < end else None


def submit(order: Order) -> dict[str, Any]:
    """Closed loop; with `watch`, also waits until the last jobs are done and writes the ids to a file."""
    requests = _requests(order)
    tally = Tally(order["expected"])
    wires = Wires(order["host"], order["port"])
    wall, start = time.time(), time.perf_counter()
    feed = _feed(requests, count=order.get("count"), seconds=order.get("seconds"))
    closed(wires, connections=order["connections"], next_request=feed, on_answer=tally.add)
    report = tally.summary(time.perf_counter() - start) | {"started_at": wall}
    wires.close()
    if order.get("watch"):
        ids = [found[1].decode() for found in map(TASK_ID.search, tally.bodies) if found]
        report["tail_polls"] = _watch(order, ids[-order["connections"] :])
        report["done_s"] = time.perf_counter() - start
        Path(order["ids_file"]).write_text("\n".join(ids))
    return report


def _requests(order: Order) -> list[bytes]:
    host = f"{order['host']}:{order['port']}"
    bodies = [body.encode() for body in order.get("bodies") or [""]]
    return [prepare(order["method"], order["path"], host=host, body=body) for body in bodies]


def _watch(order: Order, ids: list[str], pause_s: float = 0.01) -> int:
    """Asks for the youngest jobs one after the other, 100 times a second at most, until each is final.

    Queues are first in, first out here, so the youngest are the last to finish; `read` checks that afterwards.
    """
    wire, polls = Wire(order["host"], order["port"]), 0
    wire.socket.settimeout(30)
    end = time.perf_counter() + order["deadline_s"]
    for task_id in reversed(ids):
        request = prepare("GET", order["watch"].format(id=task_id), host="127.0.0.1")
        while time.perf_counter() < end:
            polls += 1
            wire.send(request)
            wire.socket.settimeout(30)
            while (answer := wire.receive()) is None:
                pass
            if wire.is_closing:
                wire.reconnect()
                wire.socket.settimeout(30)
            if answer.status == 200 and json.loads(answer.body)["status"] not in ("pending", "running"):
                break
            time.sleep(pause_s)
    wire.socket.close()
    return polls


def read(order: Order) -> dict[str, Any]:
    """Reads every job once, after the clock has stopped: were they all completed, how late was the last one."""
    ids = Path(order["ids_file"]).read_text().split()
    host = f"{order['host']}:{order['port']}"
    supply = iter(ids)
    tally = Tally(200)
    wires = Wires(order["host"], order["port"])

    def following() -> bytes | None:
        task_id = next(supply, None)
        return None if task_id is None else prepare("GET", order["path"].format(id=task_id), host=host)

    start = time.perf_counter()
    closed(wires, connections=32, next_request=following, on_answer=tally.add)
    report = tally.summary(time.perf_counter() - start)
    wires.close()
    return report | digest(tally.bodies)


def digest(bodies: list[bytes]) -> dict[str, Any]:
    """States, batch sizes and the server's own latencies out of the jobs' JSON."""
    jobs = [json.loads(body) for body in bodies]
    done = [job for job in jobs if job["status"] == "completed"]
    sizes = Counter(int(job.get("batch_size") or 1) for job in done)
    ends = [datetime.fromisoformat(job["completed_at"]).timestamp() for job in done if job.get("completed_at")]
    return {
        "states": dict(Counter(job["status"] for job in jobs)),
        "jobs_by_batch_size": {str(size): sizes[size] for size in sorted(sizes)},
        "batch_mean": len(done) / sum(count / size for size, count in sizes.items()) if sizes else 0.0,
        "batch_max": max(sizes, default=0),
        "server_ms": quantiles_ms([float(job["latency"]) for job in done if job.get("latency") is not None]),
        "last_completed_at": max(ends, default=0.0),
    }


def arrive(order: Order) -> dict[str, Any]:
    """Open loop at a fixed mean rate; latency runs from the moment a job was due to its final answer."""
    host = f"{order['host']}:{order['port']}"
    wires = Wires(order["host"], order["port"])
    trips = poisson(
        wires,
        due=arrivals(order["rate"], order["seconds"], order["seed"]),
        submits=_requests(order),
        wait=lambda task_id: prepare("GET", order["wait"].format(id=task_id), host=host),
        grace_s=order.get("grace_s", 60.0),
    )
    wires.close()
    warm = [trip for trip in trips if trip.due_at >= trips[0].due_at + order.get("warm_s", 0.0)]
    done = [trip for trip in warm if trip.status == 200 and trip.done_at]
    report = {
        "rate": order["rate"],
        "jobs": len(warm),
        "done": len(done),
        "done_ms": quantiles_ms([trip.done_at - trip.due_at for trip in done]),
        "accepted_ms": quantiles_ms([trip.accepted_at - trip.due_at for trip in done]),
        "generator_late_ms": quantiles_ms([trip.sent_at - trip.due_at for trip in warm]),
        "unexpected": [_odd(trip) for trip in warm if not (trip.status == 200 and trip.done_at)][:5],
    }
    return report | digest([trip.body for trip in done]) if "wait" in order else report


def _odd(trip: Trip) -> str:
    return f"{trip.status} {trip.body[:300].decode(errors='replace')}"


def pace(order: Order) -> dict[str, Any]:
    """Many connections at a fixed rate in all; `left_out` were still waiting when they were due again."""
    tally = Tally(order["expected"])
    wires = Wires(order["host"], order["port"])
    start = time.perf_counter()
    left_out = paced(
        wires,
        connections=order["connections"],
        rate=order["rate"],
        seconds=order["seconds"],
        requests=_requests(order),
        on_answer=tally.add,
    )
    report = tally.summary(time.perf_counter() - start) | {"left_out": left_out}
    wires.close()
    return report


ORDERS: dict[str, Callable[[Order], dict[str, Any]]] = {
    "submit": submit,
    "read": read,
    "arrive": arrive,
    "pace": pace,
}


def main() -> None:
    order = json.load(sys.stdin)
    gc.disable()
    cpu = time.process_time()
    report = ORDERS[order["kind"]](order)
    json.dump(report | {"generator_cpu_s": time.process_time() - cpu}, sys.stdout)


if __name__ == "__main__":
    main()
