"""What the sampler reads and writes, on both databases and on a real Valkey: flow, series, duty, figures."""

import asyncio
import time

import pytest

from inference.jobs.model import Claimant, JobState
from inference.redisio.client import RedisLink
from inference.redisio.figures import RedisFigures, listen
from inference.settings import Settings, TelemetrySettings
from inference.store.database import Database
from inference.store.flow import SqlFlow
from inference.store.jobs import SqlJobs
from inference.store.series import SqlSeries
from inference.store.ticks import SqlTicks
from inference.telemetry.ports import SLOTS_PER_S, TelemetryPorts
from inference.telemetry.sample import Look, Published, Sample, Work
from inference.telemetry.sampler import Sampler
from inference.telemetry.series import Span, second
from tests.contract import jobs
from tests.contract.jobs import SERVICE, completed, ended, job, queue
from tests.fakes_telemetry import FakeFigures


@pytest.fixture
def flow(database: Database, store: SqlJobs) -> SqlFlow:
    return SqlFlow(database, store.now_s)


def slot_of(at: float) -> int:
    return int(at * SLOTS_PER_S)


def span(at: int, *latencies: float, service_id: str = SERVICE, step_s: int = 1) -> Span:
    work = Work(completed=len(latencies), failed=1, latency_s=sum(latencies))
    work.errors["engine_failed"] += 1
    work.latencies.add(latencies)
    made = second(service_id, at, work, Look(queue_length=3, instances=1, cpu=0.5), submitted=2)
    made.step_s = step_s
    return made


def test_what_ended_is_summed_by_slot_and_service(
    store: SqlJobs, by: Claimant, flow: SqlFlow, database: Database
) -> None:
    queue(store, *(job(order_key=n) for n in range(5)))
    claimed = store.claim(by, max_rows=10).jobs
    store.finish(by, [completed(one, batch_size=3) for one in claimed[:3]])
    store.finish(by, [ended(claimed[3], JobState.FAILED), ended(claimed[4], JobState.DEAD)])
    at = 10_000.25
    for n, one in enumerate(claimed):
        jobs.change(
            database,
            one.id,
            submitted_at=at - 1,
            started_at=at - 0.5 + n / 10,
            completed_at=at + (5.0 if n == 2 else 0),
        )

    found = flow.ended(slot_of(at), slot_of(at + 1))
    work = found[slot_of(at)][SERVICE]

    assert list(found) == [slot_of(at)]
    assert (work.completed, work.failed, work.other, work.ended) == (2, 2, 0, 4)
    assert work.errors == {"engine_failed": 2}
    assert work.latency_s == pytest.approx(2.0, abs=1e-4)
    assert (work.run_s, work.wait_s) == (pytest.approx(0.9, abs=1e-4), pytest.approx(1.1, abs=1e-4))
    assert work.latencies.quantile(0.5) == pytest.approx(1.0, rel=0.01)
    assert work.batches == pytest.approx(2 / 3 + 1)
    assert flow.count(slot_of(at), slot_of(at + 1)) == 4
    assert flow.count(slot_of(at), slot_of(at + 6)) == 5


def test_queues_are_counted_by_what_waits_and_what_runs(store: SqlJobs, by: Claimant, flow: SqlFlow) -> None:
    queue(store, *(job(order_key=n) for n in range(4)))
    store.claim(by, max_rows=1)

    assert flow.queues() == {SERVICE: (3, 1)}


def test_rows_come_back_as_they_were_put_and_are_replaced(database: Database) -> None:
    series = SqlSeries(database)
    series.put([span(10, 0.1, 0.2), span(11), span(10, service_id="other"), span(0, step_s=60)])

    series.put([span(11, 0.5)])

    assert list(series.of_service(SERVICE, step_s=1, since=10, until=12)) == [span(10, 0.1, 0.2), span(11, 0.5)]
    assert len(series.of_all(step_s=1, since=0, until=100)) == 3
    assert (series.newest(1), series.newest(60), series.newest(3_600)) == (11, 0, None)
    assert (series.first(1, since=11), series.first(1, since=12)) == (11, None)


def test_rows_before_a_moment_are_deleted_of_one_width(database: Database) -> None:
    series = SqlSeries(database)
    series.put([span(10), span(11), span(0, step_s=60)])

    gone = series.delete(step_s=1, before=11)

    assert gone == 1
    assert (series.first(1, since=0), series.first(60, since=0)) == (11, 0)


def test_a_duty_stays_with_its_holder_until_it_is_not_renewed(database: Database) -> None:
    ticks = SqlTicks(database)

    mine, again = ticks.hold("sample", by="a", for_s=60), ticks.hold("sample", by="a", for_s=60)
    theirs, late = ticks.hold("sample", by="b", for_s=60), ticks.hold("sample", by="b", for_s=0)
    lost = ticks.hold("sample", by="a", for_s=60)

    assert (mine, again, theirs, late, lost) == (True, True, False, True, False)


def test_the_sampler_measures_real_tables(store: SqlJobs, by: Claimant, flow: SqlFlow, database: Database) -> None:
    figures = FakeFigures()
    ports = TelemetryPorts(
        flow=flow,
        series=SqlSeries(database),
        figures=figures,
        turns=SqlTicks(database),
        settings=TelemetrySettings(),
    )
    sampler = Sampler(ports, by="me")
    sampler.turn()
    queue(store, *(job(order_key=n) for n in range(3)))
    claimed = store.claim(by, max_rows=2).jobs
    store.finish(by, [completed(one) for one in claimed])

    deadline = time.monotonic() + 10
    while (newest := ports.series.newest(1)) is None and time.monotonic() < deadline:
        time.sleep(0.05)
        sampler.turn()
    rows = ports.series.of_all(step_s=1, since=0, until=1 << 40)

    assert newest is not None
    assert sum(row.work.completed for row in rows) == 2
    assert rows[-1].queue_s == 1
    assert sum(told.of(SERVICE).throughput for told in figures.told if told.is_whole) == 2


def test_figures_and_predictions_go_through_redis(redis_url: str) -> None:
    settings = Settings(redis_url=redis_url)
    link = RedisLink(settings)
    figures = RedisFigures(link)
    told = Published(at=12.5, is_whole=False, services={"s": Sample(throughput=2.0, error_codes={"a": 1})})
    work = Work(completed=2, predictions=2, failed=1, latency_s=0.5)
    work.latencies.add([0.2, 0.3])
    work.errors["timed_out"] += 1

    async def hear() -> Published:
        heard: asyncio.Future[Published] = asyncio.get_running_loop().create_future()
        listening = asyncio.ensure_future(listen(settings, lambda one: heard.done() or heard.set_result(one)))
        while not heard.done():
            await asyncio.to_thread(figures.publish, told)
            await asyncio.sleep(0.02)
        listening.cancel()
        return heard.result()

    before, heard, newest = figures.newest(), asyncio.run(hear()), figures.newest()
    figures.tell_predicted("s", [(25, work)])
    predicted, nothing = figures.predicted(), figures.predicted()
    link.close()

    assert (before, heard, newest) == (None, told, told)
    assert (list(predicted), list(nothing)) == ([("s", 25, work)], [])
