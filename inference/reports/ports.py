"""What reports need from outside."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from inference.access.model import Scope
from inference.alerts.ports import Post
from inference.costs.ports import CostPorts
from inference.notify.model import Answer
from inference.notify.ports import WebhookSecrets
from inference.reports.model import AlertSeen, Report, Schedule, SlowTask, Subject
from inference.setting_rooms import ReportsSettings, TelemetrySettings
from inference.telemetry.series import Span

Window = tuple[str, float, float]
"""A service, and a time from the first moment until before the second."""


class ReportStore(Protocol):
    """Reports, their contents and schedules. What somebody asks for or removes is audited. Raises StoreUnavailable."""

    def now_s(self) -> float: ...

    def ask(self, report: Report, *, most: int) -> Report:
        """Inserts it. Raises BacklogFull when so many of the tenant are not made yet."""
        ...

    def get(self, scope: Scope, report_id: str) -> Report:
        """Raises ReportNotFound."""
        ...

    def list(self, scope: Scope, *, service_id: str | None, limit: int, before_id: str | None) -> Sequence[Report]:
        """Newest first; `service_id` empty: of the whole tenant, None: of anything."""
        ...

    def content(self, scope: Scope, report_id: str) -> bytes:
        """Of a completed one. Raises ReportNotFound, WrongState."""
        ...

    def delete(self, scope: Scope, report_id: str) -> None:
        """Raises ReportNotFound. Who makes it finds nothing to finish."""
        ...

    def is_due(self) -> bool:
        """Whether a report or a schedule is due. Cheap."""
        ...

    def take(self, *, by: str, lease_s: float) -> Report | None:
        """The one most overdue, leased: nobody else gets it within `lease_s`.

        One that is not made yet comes as `running`, with `attempt` counted; the others are to be told of.
        """
        ...

    def complete(self, report: Report, *, by: str, body: bytes, summary: str) -> bool:
        """With its content, in one transaction; False when it is somebody else's by now, and nothing was written."""
        ...

    def fail(self, report: Report, *, by: str, code: str, message: str) -> bool:
        """The same, for one that cannot be made."""
        ...

    def told(
        self, report: Report, *, by: str, mailed: bool, posted: bool, delay_s: float | None, note: str | None
    ) -> bool:
        """Records a try to tell of it; due again after `delay_s`, or never with None."""
        ...

    def forget(self, *, keep_s: float, limit: int) -> int:
        """Removes reports that were asked for that long ago; how many."""
        ...

    def schedule(self, schedule: Schedule, *, most: int) -> Schedule:
        """Inserts it. Raises QuotaExceeded when the tenant has so many."""
        ...

    def schedules(self, scope: Scope, *, service_id: str | None) -> Sequence[Schedule]:
        """By age; `service_id` as in `list`."""
        ...

    def unschedule(self, scope: Scope, schedule_id: str) -> None:
        """Raises ReportScheduleNotFound."""
        ...

    def due(self, *, limit: int) -> Sequence[Schedule]: ...

    def make_from(self, schedule: Schedule, report: Report | None, *, next_at: float) -> bool:
        """Moves the schedule on and inserts its report, in one transaction; False when somebody else has moved it."""
        ...

    def drop(self, schedule: Schedule) -> None:
        """Removes one whose service is gone."""
        ...


class ReportSources(Protocol):
    """What a report is made of, in short statements that an index bounds. Raises StoreUnavailable."""

    def subjects(self, tenant_id: str, service_id: str) -> Sequence[Subject]:
        """That service, or all of the tenant where it is empty, by name."""
        ...

    def spans(self, service_ids: Collection[str], *, step_s: int, since: int, until: int) -> Sequence[Span]: ...

    def newest(self, step_s: int) -> int | None:
        """Where the last span of this width begins."""
        ...

    def slowest(self, tenant_id: str, windows: Collection[Window], *, limit: int) -> Sequence[SlowTask]:
        """The slowest completed tasks that ended in one of these, slowest first."""
        ...

    def failed(self, tenant_id: str, window: Window, code: str) -> tuple[str, str | None] | None:
        """Id and message of the newest task that ended there with this code."""
        ...

    def alerts(self, tenant_id: str, service_id: str, *, since: float, until: float, limit: int) -> Sequence[AlertSeen]:
        """Those that fired before `until` and were not over at `since`; newest first."""
        ...


class Mail(Protocol):
    def __call__(
        self, *, to: Sequence[str], subject: str, text: str, message_id: str, attachment: tuple[str, str, bytes] | None
    ) -> Answer:
        """Sends one message, with a file: name, media type, content. Never raises."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Telling:
    """How people are told of reports that come by themselves."""

    mail: Mail
    post: Post


class Nudge(Protocol):
    """Whoever makes reports hears that there is one to make. May be lost: they look by themselves, too."""

    def report(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportPorts:
    store: ReportStore
    sources: ReportSources
    costs: CostPorts
    secrets: WebhookSecrets
    nudge: Nudge
    settings: ReportsSettings
    kept: TelemetrySettings
