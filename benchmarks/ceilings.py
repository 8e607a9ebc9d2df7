"""What each part can do alone, and what a job costs it: claims and finishes, commits, slots and hot copies, nginx."""

import secrets
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from benchmarks import fill, measure, models, servers, systems
from benchmarks.backlog import RESULT, completed
from benchmarks.models import Model
from benchmarks.processes import free_port, stop
from inference.ids import DEFAULT_TENANT, new_id
from inference.jobs.model import Claimant, JobState, JobView, Submission
from inference.redisio.client import RedisLink
from inference.redisio.hot import RedisHotResults
from inference.redisio.slots import Slots
from inference.settings import ResultsSettings, Settings
from inference.store.database import Database
from inference.store.jobs import SqlJobs
from tests.contract import jobs as rows

TOGETHER = 8
BATCHES, GROUPS = (8, 32, 64), (1, 8, 32, 128, 500)
BODY = secrets.token_bytes(300)
"""A payload of the tiny model's size."""

Row = dict[str, float]


class Meter:
    """CPU of this thread and of the servers that it asks, over a stretch of calls."""

    def __init__(self, there: Sequence[psutil.Process]) -> None:
        self._there = there
        self._begun = time.perf_counter(), time.thread_time(), self._servers_s()

    def _servers_s(self) -> float:
        """To the nanosecond; `psutil` counts in hundredths of a second."""
        return sum(int(Path(f"/proc/{one.pid}/schedstat").read_text().split()[0]) for one in self._there) / 1e9

    def row(self, *, jobs: int, calls: int) -> Row:
        """Jobs and calls a second by the clock on the wall; microseconds of CPU a job, here and there."""
        begun, here, there = self._begun
        took_s = time.perf_counter() - begun
        return {
            "jobs_per_s": round(jobs / took_s, 1),
            "calls_per_s": round(calls / took_s, 1),
            "here_us": round((time.thread_time() - here) / jobs * 1e6, 2),
            "there_us": round((self._servers_s() - there) / jobs * 1e6, 2),
        }


def sql(kind: str, folder: Path, *, jobs: int) -> dict[str, dict[str, Row]]:
    """Of a database: transactions that finish a batch and claim the next, and commits of groups of submissions."""
    with servers.database(kind, folder / kind, connections=TOGETHER) as db:
        store, by = SqlJobs(db), fill.service(db)
        found: dict[str, dict[str, Row]] = {"finish and claim": {}, "commit": {}}
        for size in GROUPS:
            calls = max(3, min(400, jobs // size))
            groups = [[_submission(by.service_id) for _ in range(size)] for _ in range(calls + 8)]
            _each(store.insert, groups[:8])
            meter = Meter(servers.backends(db))
            _each(store.insert, groups[8:])
            found["commit"][str(size)] = meter.row(jobs=size * calls, calls=calls)
        for batch in BATCHES:
            found["finish and claim"][str(batch)] = _drain(db, store, batch=batch, jobs=jobs)
        if not db.is_sqlite:  # there they take turns
            found[f"the same, {TOGETHER} at one queue"] = {"32": _drain_together(db, store, batch=32, jobs=jobs)}
    return found


def _each(call: Callable[[Any], object], things: Sequence[Any]) -> None:
    for thing in things:
        call(thing)


def _submission(service_id: str) -> Submission:
    """As one request brings it: a job of its own."""
    return rows.alone(rows.job(service_id=service_id, bucket="x:float32[*,64]", payload=BODY))


def _drain(db: Database, store: SqlJobs, *, batch: int, jobs: int) -> Row:
    by = fill.service(db, batch)
    for _ in range(jobs // 500 + 2):
        store.insert([_submission(by.service_id) for _ in range(500)])
    held = store.claim(by, max_rows=batch).jobs
    for _ in range(8):  # until the plans are kept
        held = store.finish(by, completed(held), max_rows=batch)[1].jobs
    calls, done = max(4, jobs // batch), 0
    meter = Meter(servers.backends(db))
    for _ in range(calls):
        held = store.finish(by, completed(held), max_rows=batch)[1].jobs
        done += len(held)
    row = meter.row(jobs=done, calls=calls)
    store.finish(by, completed(held))
    return row


def _drain_together(db: Database, store: SqlJobs, *, batch: int, jobs: int) -> Row:
    """So many instances of one service at once: each skips the rows that the others are just taking."""
    claimants = [fill.service(db, TOGETHER + 100)]
    claimants += [fill.instance(db, claimants[0].service_id) for _ in range(TOGETHER - 1)]
    for _ in range(jobs // 500 + 3):
        store.insert([_submission(claimants[0].service_id) for _ in range(500)])
    done: list[int] = []
    ready = threading.Barrier(TOGETHER + 1)

    def drain(by: Claimant) -> None:
        held = store.claim(by, max_rows=batch).jobs
        for _ in range(8):
            held = store.finish(by, completed(held), max_rows=batch)[1].jobs
        ready.wait()
        ready.wait()
        for _ in range(max(2, jobs // batch // TOGETHER - 9)):
            held = store.finish(by, completed(held), max_rows=batch)[1].jobs
            done.append(len(held))

    threads = [threading.Thread(target=drain, args=(by,)) for by in claimants]
    for thread in threads:
        thread.start()
    ready.wait()
    meter = Meter(servers.backends(db))
    ready.wait()
    for thread in threads:
        thread.join()
    row = meter.row(jobs=sum(done), calls=len(done))
    del row["here_us"]  # of the threads, which the meter does not see
    return row


def redis(folder: Path, *, calls: int) -> dict[str, Row]:
    """Of Valkey: the script that rings or leaves a token, and hot copies with their news, by batches of 32."""
    port = free_port()
    server = systems.valkey(folder, port)
    link = RedisLink(Settings(redis_url=f"redis://127.0.0.1:{port}/0"))
    try:
        _until_answers(link)
        slots, hot = Slots(link), RedisHotResults(link, ResultsSettings())
        found = {}
        for title, held in (("ring, slot free", 1), ("ring, slot taken", 0)):
            services = [new_id() for _ in range(calls)] if held else [new_id()] * calls
            slots.ring_or_wake(services[0], slots=1, token="first")
            meter = Meter([server])
            for service in services:
                slots.ring_or_wake(service, slots=1, token="another")
            found[title] = meter.row(jobs=calls, calls=calls)
        for size in BATCHES:
            batches = [[_view() for _ in range(size)] for _ in range(max(4, calls // size))]
            hot.put(DEFAULT_TENANT, batches[0][0].service_id, batches[0])
            meter = Meter([server])
            for views in batches:
                hot.put(DEFAULT_TENANT, views[0].service_id, views)
            found[f"hot copies of {size}"] = meter.row(jobs=size * len(batches), calls=len(batches))
        ids = [view.id for views in batches for view in views]
        meter = Meter([server])
        for job_id in ids:
            hot.get(DEFAULT_TENANT, job_id)
        found["read of a hot copy"] = meter.row(jobs=len(ids), calls=len(ids))
        return found
    finally:
        link.close()
        stop([server])


def _until_answers(link: RedisLink) -> None:
    end = time.monotonic() + 10
    while time.monotonic() < end:
        with suppress(Exception):  # it is about to listen
            link.client.ping()
            return
        time.sleep(0.05)
    raise SystemExit("Valkey did not start.")


def _view() -> JobView:
    now = time.time()
    return JobView(
        id=new_id(),
        service_id="0" * 32,
        state=JobState.COMPLETED,
        priority=0,
        attempts=1,
        created_at=now,
        started_at=now,
        completed_at=now,
        batch_size=32,
        model_version="1.0.0",
        worker="bench",
        result=RESULT,
    )


def nginx(model: Model, folder: Path, *, seconds: float) -> Row:
    """Of one nginx process that answers by itself, with the generator on the other core."""
    seen = measure.generator_limit(model, folder, seconds=seconds)
    return {"calls_per_s": round(seen["per_s"], 1)}


def run(folder: Path, *, jobs: int, kinds: Sequence[str]) -> dict[str, Any]:
    """All of them, one after the other."""
    report: dict[str, Any] = {"sql": {}}
    for kind in kinds:
        report["sql"][kind] = sql(kind, folder, jobs=jobs)
        print(f"{kind}: {report['sql'][kind]}", file=sys.stderr)
    report["redis"] = redis(folder, calls=jobs)
    report["nginx"] = nginx(models.make("tiny", folder), folder, seconds=2.0)
    return report
