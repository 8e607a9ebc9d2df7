"""Facts of a report that nobody has to gather, and the ports of the room in memory."""

import dataclasses
import math
from typing import Any

from inference.errors import BacklogFull, ReportNotFound, ReportScheduleNotFound, WrongState
from inference.reports.model import (
    UNDER_WAY,
    AlertSeen,
    ErrorCase,
    Facts,
    Figures,
    Format,
    Moment,
    Report,
    ReportState,
    SlowTask,
    Subject,
)
from inference.reports.ports import ReportPorts
from inference.setting_rooms import ReportsSettings, TelemetrySettings

BEGIN = 1_795_046_400.0
"""Midnight, UTC."""
DAY_S = 86_400
SERVICE = f"{7:032x}"


def report(**changes: Any) -> Report:
    """Of one service over a day."""
    values: dict[str, Any] = {
        "id": f"{1:032x}", "tenant_id": "default", "service_id": SERVICE, "format": Format.HTML, "language": "en",
        "timezone": "UTC", "since": BEGIN, "until": BEGIN + DAY_S,
    }  # fmt: skip
    return Report(**{**values, **changes})


def figures(**changes: Any) -> Figures:
    values: dict[str, Any] = {
        "span_s": DAY_S, "done": 1_284_310, "failed": 1_822, "submitted": 1_286_140, "p50_s": 0.0241, "p95_s": 0.0713,
        "p99_s": 0.164, "run_s": 0.0081, "wait_s": 0.0145, "wait_p95_s": 0.0602, "queue": 2.1, "queue_most": 940,
        "batch": 11.4, "batch_fill": 0.36, "instances": 2, "cpu": 1.42, "memory_bytes": 1.9e9, "gpu": 0.41,
        "gpu_memory_bytes": 6.2e9, "gpu_source": "nvml", "money": 28.4, "idle_money": 9.7,
        "errors": {"engine_failed": 1_400, "timed_out": 400, "output_invalid": 22},
    }  # fmt: skip
    return Figures(**{**values, **changes})


def moments(steps: int = 96) -> list[Moment]:
    """A day with its waves, and a quarter of an hour in which nothing ran."""
    found = []
    for at in range(steps):
        wave = 1 + 0.8 * math.sin(at / steps * 2 * math.pi - 1.6)
        is_quiet = at == 40
        found.append(
            Moment(
                at=BEGIN + at * DAY_S / steps,
                per_s=0 if is_quiet else 15 * wave,
                failed_per_s=4.0 if at in (60, 61) else 0.01,
                p50_s=None if is_quiet else 0.02 + 0.004 * wave,
                p95_s=None if is_quiet else 0.05 + 0.02 * wave,
                p99_s=None if is_quiet else 0.09 + 0.07 * wave,
                queue_most=int(200 * wave) + (740 if at == 60 else 0),
                gpu=0.45 * wave / 1.8,
            )
        )
    return found


def facts(**changes: Any) -> Facts:
    """A busy day of one service, beside a calmer one before it."""
    values: dict[str, Any] = {
        "begins": BEGIN, "ends": BEGIN + DAY_S, "made_at": BEGIN + DAY_S + 600,
        "subjects": [Subject(id=SERVICE, name="digits", state="running", max_batch=32)],
        "now": figures(),
        "before": figures(done=1_100_000, failed=90, p95_s=0.052, run_s=0.0079, money=24.1, idle_money=11.0),
        "moments": moments(), "step_s": 900, "of_services": {},
        "errors": [
            ErrorCase(code="engine_failed", count=1_400, task_id=f"{11:032x}", message="Input 3 has the shape [1, 5]."),
            ErrorCase(code="timed_out", count=400, task_id=f"{12:032x}", message="The engine had it for 60 s."),
            ErrorCase(code="output_invalid", count=22),
        ],
        "slowest": [
            SlowTask(id=f"{20 + n:032x}", service_id=SERVICE, submitted_at=BEGIN + 54_000 + n,
                     started_at=BEGIN + 54_000 + n + 3.1, completed_at=BEGIN + 54_000 + n + 4.9 - n / 10,
                     worker="digits.0@gpu-1")
            for n in range(10)
        ],
        "alerts": [
            AlertSeen(name="error ratio", metric="error_ratio", severity="critical", service_id=SERVICE,
                      fired_at=BEGIN + 54_300, resolved_at=BEGIN + 56_000, value=0.12, threshold=0.05),
            AlertSeen(name="queue wait", metric="queue_wait_p95", severity="warning", service_id=SERVICE,
                      fired_at=BEGIN + 80_000, resolved_at=None, value=2.4, threshold=1.0),
        ],
        "alerts_more": 0, "currency": "USD", "is_measured": True,
    }  # fmt: skip
    return Facts(**{**values, **changes})


def system_facts(**changes: Any) -> Facts:
    """Of three services together."""
    subjects = [Subject(id=f"{n:032x}", name=name, state="running") for n, name in
                ((7, "digits"), (8, "文字识别"), (9, "embeddings-large-v2"))]  # fmt: skip
    of_services = {one.id: figures(done=1_284_310 // (n + 1)) for n, one in enumerate(subjects)}
    return facts(subjects=subjects, of_services=of_services, **changes)


class FakeReports:
    """`ReportStore`, of what people ask for. `now` is set by a test."""

    def __init__(self):
        self.rows, self.bodies, self.plans, self.now = {}, {}, {}, BEGIN + 2 * DAY_S

    def now_s(self):
        return self.now

    def ask(self, report, *, most):
        waiting = sum(one.state in UNDER_WAY and one.tenant_id == report.tenant_id for one in self.rows.values())
        if waiting >= most:
            raise BacklogFull("full", of="tenant", waiting=waiting, limit=most)
        self.rows[report.id] = dataclasses.replace(report, created_at=self.now)
        return self.rows[report.id]

    def get(self, scope, report_id):
        found = self.rows.get(report_id)
        if found is None or not _is_in(scope, found):
            raise ReportNotFound("none", id=report_id)
        return found

    def list(self, scope, *, service_id, limit, before_id):
        mine = [one for one in self.rows.values() if _is_in(scope, one) and service_id in (None, one.service_id)]
        return sorted(
            (one for one in mine if before_id is None or one.id < before_id), key=lambda one: one.id, reverse=True
        )[:limit]

    def content(self, scope, report_id):
        found = self.get(scope, report_id)
        if found.state is not ReportState.COMPLETED:
            raise WrongState("not yet", state=found.state.value, allowed=["completed"])
        return self.bodies[report_id]

    def delete(self, scope, report_id):
        self.get(scope, report_id)
        del self.rows[report_id]

    def is_due(self):
        return any(one.state in UNDER_WAY for one in self.rows.values())

    def schedule(self, schedule, *, most):
        self.plans[schedule.id] = dataclasses.replace(schedule, created_at=self.now)
        return self.plans[schedule.id]

    def schedules(self, scope, *, service_id):
        return [one for one in self.plans.values() if _is_in(scope, one) and service_id in (None, one.service_id)]

    def unschedule(self, scope, schedule_id):
        if schedule_id not in self.plans or not _is_in(scope, self.plans[schedule_id]):
            raise ReportScheduleNotFound("none", id=schedule_id)
        del self.plans[schedule_id]

    def forget(self, *, keep_s, limit):
        return 0


class Nudged:
    """`Nudge` that counts."""

    def __init__(self):
        self.count = 0

    def report(self):
        self.count += 1


def _is_in(scope, row):
    return row.tenant_id == scope.tenant_id and scope.service_id in (None, row.service_id)


def make_reports(*, costs=None, notify=None, settings=None, kept=None):
    return ReportPorts(
        store=FakeReports(),
        sources=None,
        costs=costs,
        secrets=None if notify is None else notify.secrets,
        nudge=Nudged(),
        settings=settings or ReportsSettings(),
        kept=kept or TelemetrySettings(),
    )
