"""Reports on both databases: the facts of known work, who makes them, and schedules that bring each period once."""

import dataclasses
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from inference.access.model import Scope, Tenant
from inference.costs.ports import CostPorts
from inference.errors import BacklogFull, ReportNotFound, ReportScheduleNotFound, ServiceNotFound, WrongState
from inference.ids import DEFAULT_TENANT, new_id
from inference.notify.model import Answer
from inference.reports import gather, make
from inference.reports.model import Every, Format, Report, ReportState, Schedule
from inference.reports.ports import ReportPorts, Telling
from inference.setting_rooms import CostsSettings, ReportsSettings, TelemetrySettings
from inference.store import tables
from inference.store.budgets import SqlBudgets, SqlPrices
from inference.store.costs import SqlCosts
from inference.store.database import Database
from inference.store.report_sources import SqlReportSources
from inference.store.reports import SqlReports
from inference.store.series import SqlSeries
from inference.store.tenants import SqlTenants
from inference.store.webhook_secrets import SqlWebhookSecrets
from inference.telemetry.sample import Work
from inference.telemetry.series import HOUR, MINUTE, SECOND, Span
from tests.contract.jobs import SERVICE, add_service
from tests.fakes_reports import Nudged

MINE = Scope(DEFAULT_TENANT)
DAY = 86_400
OTHER = "6" * 32
THEIRS = "7" * 32


def nobody(**_: object) -> Answer:
    raise AssertionError("nobody is to be told")


SILENT = Telling(mail=nobody, post=nobody)


@pytest.fixture
def ports(database: Database) -> ReportPorts:
    add_service(database)
    return ReportPorts(
        store=SqlReports(database),
        sources=SqlReportSources(database, lambda: {SERVICE: 32}),
        costs=CostPorts(
            store=SqlCosts(database, silence_s=60.0, threads=1),
            prices=SqlPrices(database),
            budgets=SqlBudgets(database),
            settings=CostsSettings(),
            now_s=lambda: 0.0,
        ),
        secrets=SqlWebhookSecrets(database),
        nudge=Nudged(),
        settings=ReportsSettings(waiting=3, lease_s=60.0),
        kept=TelemetrySettings(),
    )


@pytest.fixture
def hour(ports: ReportPorts) -> int:
    """The last full hour of the clock, and one more, so that all rows of it are made."""
    return int(ports.store.now_s()) // HOUR * HOUR - HOUR


def report(**changes: object) -> Report:
    values = {
        "id": new_id(), "tenant_id": DEFAULT_TENANT, "service_id": SERVICE, "format": Format.HTML, "language": "en",
        "timezone": "UTC", "since": 0.0, "until": 1.0,
    }  # fmt: skip
    return Report(**{**values, **changes})


def asked(ports: ReportPorts, **changes: object) -> Report:
    return ports.store.ask(report(**changes), most=100)


def work(durations: Sequence[float], **errors: int) -> Work:
    made = Work(completed=len(durations), failed=sum(errors.values()), tasks_run=len(durations), batches=10.0)
    made.latency_s, made.run_s, made.wait_s = sum(durations), 0.01 * len(durations), 0.002 * len(durations)
    made.latencies.add(durations)
    made.waits.add([0.002] * len(durations))
    made.errors.update(errors)
    return made


def measured(database: Database, at: int, durations: Sequence[float], service=SERVICE, **errors: int) -> None:
    """In the minute at `at`; and in the hour around it, as the roll-up would have it, with what is there."""
    series = SqlSeries(database)
    gauges = {"queue_most": 7, "looks": 60, "instances": 2.0, "cpu": 0.5, "gpu_share": 0.25, "gpu_source": "replay"}
    minute = Span(service_id=service, step_s=MINUTE, at=at, work=work(durations, **errors), **gauges)
    whole = Span(service_id=service, step_s=HOUR, at=at - at % HOUR)
    for there in series.of_service(service, step_s=HOUR, since=whole.at, until=whole.at + HOUR):
        whole.merge(there)
    whole.merge(minute)
    series.put([minute, whole])


def ended(database: Database, at: float, took_s: float, **changes: object) -> str:
    """A job that ended then."""
    job_id = new_id()
    row = {
        "id": job_id, "tenant_id": DEFAULT_TENANT, "service_id": SERVICE, "state": "completed", "priority": 0,
        "order_key": at, "submitted_at": at - took_s, "timeout_s": 60.0, "bucket": "b", "rows": 1, "max_attempts": 1,
        "started_at": at - took_s / 4, "completed_at": at, "worker": "w.0@host",
    }  # fmt: skip
    with database.write() as connection:
        connection.execute(tables.jobs.insert(), {**row, **changes})
    return job_id


def test_the_facts_of_a_range_are_those_of_the_work_in_it(database: Database, ports: ReportPorts, hour: int):
    measured(database, hour - 3 * HOUR, [0.1] * 300)  # the range before
    measured(database, hour - 2 * HOUR, [0.01] * 300, engine_failed=2)
    measured(database, hour - HOUR + 600, [0.1] * 270 + [1.0] * 30, engine_failed=1, timed_out=1)
    measured(database, hour, [9.0] * 50)  # after it
    add_service(database, OTHER)
    measured(database, hour - HOUR, [5.0] * 70, service=OTHER)
    bad = ended(database, hour - HOUR + 610, 0.2, state="failed", error_code="engine_failed", error_message="It broke.")
    ended(database, hour - 2 * HOUR + 5, 0.2, state="failed", error_code="engine_failed", error_message="Older.")
    slow = [ended(database, hour - HOUR + 601 + n, took) for n, took in enumerate((1.0, 3.0, 2.0))]
    ended(database, hour - HOUR + 610, 8.0, tenant_id="another")
    ended(database, hour + 10, 9.0)
    first_day, is_over = (hour - 2 * HOUR) // DAY, -(-hour // DAY) * DAY <= ports.store.now_s()
    with database.write() as connection:
        for day, money in ((first_day, 4.0), (first_day - 1, 3.0)):
            connection.execute(
                tables.cost_days.insert(),
                {"day": day, "tenant_id": DEFAULT_TENANT, "service_id": SERVICE, "device_kind": "cpu",
                 "purchase": "on_demand", "held_s": 10.0, "cpu_s": 10.0, "money": money},
            )  # fmt: skip

    found = gather.gather(ports, report(since=hour - 2 * HOUR, until=hour))

    now, before = found.now, found.before
    assert (now.done, now.failed, before.done, before.failed) == (600, 4, 300, 0)
    assert now.per_s == pytest.approx(600 / 7_200)
    assert now.error_ratio == pytest.approx(4 / 604)
    assert [now.p50_s, now.p95_s, now.p99_s] == pytest.approx([0.01, 0.1, 1.0], rel=0.011)
    assert before.p95_s == pytest.approx(0.1, rel=0.011)
    assert (now.run_s, now.wait_s, now.queue_most, now.gpu) == pytest.approx((0.01, 0.002, 7, 0.25))
    assert (now.batch, now.batch_fill) == pytest.approx((30.0, 30 / 32))
    assert [(case.code, case.count, case.task_id, case.message) for case in found.errors] == [
        ("engine_failed", 3, bad, "It broke."), ("timed_out", 1, None, None),
    ]  # fmt: skip
    assert [task.id for task in found.slowest] == [slow[1], slow[2], slow[0]]
    assert found.slowest[0].latency_s == pytest.approx(3.0)
    assert sum(moment.per_s * found.step_s for moment in found.moments) == pytest.approx(600)
    assert (found.begins, found.ends, len(found.subjects)) == (hour - 2 * HOUR, hour, 1)
    assert (now.money, now.idle_money, before.money) == (4.0, 4.0, 3.0 if is_over else None)


def test_a_long_range_is_read_by_the_hour_and_its_slowest_task_is_found_by_the_minute(
    database: Database, ports: ReportPorts, hour: int
):
    for day in range(1, 20):
        measured(database, hour - day * DAY, [0.05] * 10)
    measured(database, hour - 2 * HOUR + 300, [7.0])
    measured(database, hour - HOUR, [0.05] * 10)
    slow = ended(database, hour - 2 * HOUR + 310, 7.0)
    ended(database, hour - 2 * HOUR + 900, 7.5)  # in a minute of which the series say nothing
    read: list[int] = []
    spans = ports.sources.spans

    class Watched:
        def __getattr__(self, name: str) -> Callable[..., object]:
            return getattr(ports.sources, name)

        def spans(self, ids, **asked):
            read.append(asked["step_s"])
            return spans(ids, **asked)

    found = gather.gather(dataclasses.replace(ports, sources=Watched()), report(since=hour - 20 * DAY, until=hour))

    assert (found.now.done, found.now.p99_s) == (201, pytest.approx(0.05, rel=0.011))
    assert [task.id for task in found.slowest] == [slow]
    assert SECOND not in read


def test_the_whole_tenant_is_the_sum_of_its_services_and_nobody_elses(
    database: Database, ports: ReportPorts, hour: int
):
    add_service(database, OTHER)
    add_service(database, THEIRS, tenant_id="another")
    for service, count in ((SERVICE, 10), (OTHER, 20), (THEIRS, 40)):
        measured(database, hour - HOUR, [0.01] * count, service=service)

    found = gather.gather(ports, report(service_id="", since=hour - HOUR, until=hour))

    assert found.now.done == 30
    assert {key: of.done for key, of in found.of_services.items()} == {SERVICE: 10, OTHER: 20}
    assert found.now.cpu == pytest.approx(1.0)
    with pytest.raises(ServiceNotFound):
        gather.gather(ports, report(service_id=THEIRS, since=hour - HOUR, until=hour))


def test_alerts_that_fired_in_the_range_or_still_did_are_told(database: Database, ports: ReportPorts):
    def alert(fired: float | None, resolved: float | None, **changes: object) -> None:
        row = {
            "id": new_id(), "rule_id": "r", "tenant_id": DEFAULT_TENANT, "service_id": SERVICE, "name": f"{fired}",
            "metric": "latency", "severity": "warning", "threshold": 0.2, "began_at": 0.0, "phase": "firing",
            "fired_at": fired, "resolved_at": resolved,
        }  # fmt: skip
        with database.write() as connection:
            connection.execute(tables.alerts.insert(), {**row, **changes})

    for fired, resolved in ((50, 90), (60, 150), (70, None), (120, 130), (220, None), (None, None)):
        alert(fired, resolved)
    alert(125, None, tenant_id="another")
    alert(126, None, service_id=OTHER)

    found = ports.sources.alerts(DEFAULT_TENANT, SERVICE, since=100.0, until=200.0, limit=10)

    assert [one.fired_at for one in found] == [120.0, 70.0, 60.0]
    assert len(ports.sources.alerts(DEFAULT_TENANT, "", since=100.0, until=200.0, limit=10)) == 4


def test_a_report_that_is_asked_for_is_made_once_and_can_be_read(database: Database, ports: ReportPorts, hour: int):
    measured(database, hour - HOUR, [0.01] * 25)
    made = asked(ports, since=hour - HOUR, until=hour)
    with pytest.raises(WrongState):
        ports.store.content(MINE, made.id)

    assert ports.store.is_due()
    assert make.next_one(ports, SILENT, by="one")
    assert not make.next_one(ports, SILENT, by="two")

    kept = ports.store.get(MINE, made.id)
    assert (kept.state, kept.attempt, kept.error_code) == (ReportState.COMPLETED, 1, None)
    assert kept.summary is not None
    assert kept.summary.startswith("25 tasks completed")
    assert len(ports.store.content(MINE, made.id)) == kept.size_bytes
    assert not ports.store.is_due()


def test_what_a_maker_had_in_hand_when_it_died_is_made_by_another_and_no_more_by_the_first(ports: ReportPorts):
    made = asked(ports)
    lost = ports.store.take(by="one", lease_s=0.0)

    again = ports.store.take(by="two", lease_s=60.0)

    assert lost is not None
    assert again is not None
    assert (lost.id, again.id, again.attempt) == (made.id, made.id, 2)
    assert not ports.store.complete(lost, by="one", body=b"late", summary="late")
    assert not ports.store.fail(lost, by="one", code="c", message="m")
    assert ports.store.complete(again, by="two", body=b"right", summary="right")
    assert not ports.store.complete(again, by="two", body=b"twice", summary="twice")
    assert ports.store.content(MINE, made.id) == b"right"


def test_a_report_that_ends_every_maker_is_given_up(ports: ReportPorts):
    made = asked(ports)
    for _ in range(make.MOST_ATTEMPTS):
        assert ports.store.take(by="one", lease_s=0.0) is not None

    assert make.next_one(ports, SILENT, by="one")

    kept = ports.store.get(MINE, made.id)
    assert (kept.state, kept.error_code) == (ReportState.FAILED, "report_failed")


def test_a_report_on_a_service_that_is_gone_fails_with_its_code(ports: ReportPorts):
    made = asked(ports, service_id=THEIRS)

    assert make.next_one(ports, SILENT, by="one")

    assert ports.store.get(MINE, made.id).error_code == "service_not_found"


def schedule(ports: ReportPorts, **changes: object) -> Schedule:
    values = {
        "id": new_id(), "tenant_id": DEFAULT_TENANT, "service_id": SERVICE, "every": Every.DAY, "at": "06:00",
        "timezone": "UTC", "format": Format.HTML, "language": "en", "next_at": ports.store.now_s() - 10,
    }  # fmt: skip
    return ports.store.schedule(Schedule(**{**values, **changes}), most=100)


def test_two_beats_bring_one_report_for_each_period(ports: ReportPorts):
    due = schedule(ports)
    seen = ports.store.due(limit=10)

    assert make.plan(ports) == 1
    assert make.plan(ports) == 0
    # A second process that looked at the same moment as the first.
    assert seen == [due]
    assert not ports.store.make_from(seen[0], report(), next_at=due.next_at + DAY)

    (made,) = ports.store.list(MINE, service_id=SERVICE, limit=10, before_id=None)
    (kept,) = ports.store.schedules(MINE, service_id=None)
    assert (made.schedule_id, made.until - made.since) == (due.id, DAY)
    assert kept.next_at > ports.store.now_s()


def test_of_makers_that_look_at_the_same_moment_one_makes_and_one_brings(ports: ReportPorts):
    schedule(ports)
    asked(ports)

    with ThreadPoolExecutor(4) as pool:
        brought = sum(pool.map(lambda _: make.plan(ports), range(4)))
        made = sum(pool.map(lambda n: make.next_one(ports, SILENT, by=f"m{n}"), range(4)))

    found = ports.store.list(MINE, service_id=SERVICE, limit=10, before_id=None)
    assert (brought, made, len(found)) == (1, 2, 2)
    assert {(one.state, one.attempt) for one in found} == {(ReportState.COMPLETED, 1)}


def test_what_a_tenant_had_is_gone_with_it(database: Database, ports: ReportPorts):
    tenants = SqlTenants(database)
    tenants.insert(Tenant(id="another", name="Another", created_at=0.0))
    theirs = asked(ports, tenant_id="another", service_id="")
    schedule(ports, tenant_id="another", service_id="")
    mine = asked(ports)
    while make.next_one(ports, SILENT, by="one"):
        pass

    tenants.delete("another")

    assert ports.store.schedules(Scope("another"), service_id=None) == []
    assert ports.store.list(Scope("another"), service_id=None, limit=10, before_id=None) == []
    with database.read() as connection:
        kept = connection.execute(tables.report_contents.select()).scalars().all()
    assert (kept, theirs.id in kept) == ([mine.id], False)


def test_a_schedule_of_a_service_that_is_gone_goes_with_it(ports: ReportPorts):
    schedule(ports, service_id=THEIRS)

    assert make.plan(ports) == 0

    assert ports.store.schedules(MINE, service_id=None) == []


def test_a_tenant_that_has_enough_waiting_is_refused_and_another_is_not(ports: ReportPorts):
    for _ in range(3):
        ports.store.ask(report(), most=3)

    with pytest.raises(BacklogFull):
        ports.store.ask(report(), most=3)
    ports.store.ask(report(tenant_id="another"), most=3)


def test_who_may_not_see_a_service_sees_none_of_its_reports_and_schedules(ports: ReportPorts):
    mine, whole, theirs = asked(ports), asked(ports, service_id=""), asked(ports, tenant_id="another")
    kept = schedule(ports)
    narrow = Scope(DEFAULT_TENANT, service_id=SERVICE)

    def seen(scope: Scope) -> set[str]:
        return {one.id for one in ports.store.list(scope, service_id=None, limit=10, before_id=None)}

    assert (seen(MINE), seen(narrow), seen(Scope("another"))) == ({mine.id, whole.id}, {mine.id}, {theirs.id})
    for scope, report_id in ((Scope("another"), mine.id), (narrow, whole.id)):
        with pytest.raises(ReportNotFound):
            ports.store.content(scope, report_id)
        with pytest.raises(ReportNotFound):
            ports.store.delete(scope, report_id)
    for scope in (Scope("another"), Scope(DEFAULT_TENANT, service_id=OTHER)):
        with pytest.raises(ReportScheduleNotFound):
            ports.store.unschedule(scope, kept.id)
    ports.store.unschedule(narrow, kept.id)


def test_reports_go_when_their_time_is_over_with_what_they_say(database: Database, ports: ReportPorts):
    old = asked(ports)
    assert make.next_one(ports, SILENT, by="one")
    with database.write() as connection:
        connection.execute(tables.reports.update().values(created_at=5.0))
    new = asked(ports)

    assert ports.store.forget(keep_s=3_600.0, limit=10) == 1

    with pytest.raises(ReportNotFound):
        ports.store.get(MINE, old.id)
    assert ports.store.get(MINE, new.id).id == new.id
    with database.read() as connection:
        assert connection.execute(tables.report_contents.select()).first() is None
