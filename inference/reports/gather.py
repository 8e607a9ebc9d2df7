"""Gathers the facts of a report: the series for all that they hold, and a few bounded questions for the rest."""

from collections.abc import Iterable, Mapping, Sequence

from inference.costs.model import Cost, CostGroup
from inference.errors import ServiceNotFound
from inference.reports import cover, figures
from inference.reports.model import ErrorCase, Facts, Figures, Report, SlowTask, Subject
from inference.reports.ports import ReportPorts, Window
from inference.telemetry.series import HOUR, MINUTE, Span

DAY_S = 86_400
MOST_SLOW = 10
MOST_READ = 1_000_000
"""Tasks among which the slowest are looked for."""
MOST_ERRORS = 8
MOST_ALERTS = 25


def gather(ports: ReportPorts, report: Report) -> Facts:
    """Raises ServiceNotFound when it was deleted, StoreUnavailable. Takes no lock, and no transaction of length."""
    sources, now = ports.sources, ports.store.now_s()
    subjects = sources.subjects(report.tenant_id, report.service_id)
    if report.service_id and not subjects:
        raise ServiceNotFound(f"There is no service {report.service_id}.", id=report.service_id)
    ids = [subject.id for subject in subjects]
    since, until = cover.aligned(report.since, min(report.until, now), now=now, kept=ports.kept)
    width = cover.widest_for(since, until, services=len(ids), now=now, kept=ports.kept)
    spans = cover.read(sources, ids, since, until, widest=width)
    length = until - since
    earlier = cover.aligned(since - length, since, now=now, kept=ports.kept)
    past = cover.read(sources, ids, *earlier, widest=HOUR)

    sums = figures.by_service(spans)
    # Whole days (UTC) are counted; with as many before those once they are over, so that equals are compared.
    first_day, end_day = since // DAY_S, -(-until // DAY_S)
    costs = _costs(ports, report, first_day, end_day)
    is_over = end_day * DAY_S <= now
    costs_before = _costs(ports, report, 2 * first_day - end_day, first_day) if is_over else {}
    step_s = cover.step_for(since, until, width)
    alerts = sources.alerts(
        report.tenant_id, report.service_id, since=report.since, until=report.until, limit=MOST_ALERTS + 1
    )
    return Facts(
        begins=since,
        ends=until,
        made_at=now,
        subjects=subjects,
        now=_whole(sums.values(), subjects, length, costs),
        before=_whole(figures.by_service(past).values(), subjects, earlier[1] - earlier[0], costs_before),
        moments=figures.moments(spans, since=since, until=until, step_s=step_s),
        step_s=step_s,
        of_services=_of_services(sums, subjects, length, costs) if not report.service_id else {},
        errors=_errors(ports, report, spans),
        slowest=_slowest(ports, report, spans),
        alerts=alerts[:MOST_ALERTS],
        alerts_more=max(0, len(alerts) - MOST_ALERTS),
        currency=ports.costs.settings.currency,
        is_measured=bool(spans) or bool(past) or sources.newest(MINUTE) is not None,
    )


def _costs(ports: ReportPorts, report: Report, day_from: int, day_to: int) -> Mapping[str, Cost]:
    """By service; those that are gone count for their tenant."""
    found = ports.costs.store.find(report.tenant_id, day_from=day_from, day_to=day_to, by=CostGroup.SERVICE)
    return {one.group: one for one in found if report.service_id in ("", one.group)}


def _whole(sums: Iterable[figures.Sum], subjects: Sequence[Subject], span_s: int, costs: Mapping[str, Cost]) -> Figures:
    money = sum(one.money for one in costs.values()) if costs else None
    idle = sum(one.money - one.used_money for one in costs.values()) if costs else None
    max_batch = subjects[0].max_batch if len(subjects) == 1 else 0
    return figures.figures(sums, span_s=span_s, max_batch=max_batch, money=money, idle_money=idle)


def _of_services(
    sums: Mapping[str, figures.Sum], subjects: Sequence[Subject], span_s: int, costs: Mapping[str, Cost]
) -> Mapping[str, Figures]:
    """Of those that did or cost anything."""
    told = {}
    for subject in subjects:
        cost = costs.get(subject.id)
        if subject.id in sums or cost is not None:
            told[subject.id] = figures.figures(
                [sums[subject.id]] if subject.id in sums else [],
                span_s=span_s,
                max_batch=subject.max_batch,
                money=None if cost is None else cost.money,
                idle_money=None if cost is None else cost.money - cost.used_money,
            )
    return told


def _window(span: Span) -> Window:
    return span.service_id, float(span.at), float(span.at + span.step_s)


def _slowest(ports: ReportPorts, report: Report, spans: Sequence[Span]) -> Sequence[SlowTask]:
    """The n slowest lie in the n rows whose slowest are: no other row is asked for its tasks."""
    rows = _with_slowest(spans)
    hours = [span for span in rows if span.step_s == HOUR]
    if hours:  # of an hour only the minutes that matter
        finer = [
            minute
            for hour in hours
            for minute in ports.sources.spans(
                [hour.service_id], step_s=MINUTE, since=hour.at, until=hour.at + hour.step_s
            )
        ]
        told = {(minute.service_id, minute.at - minute.at % HOUR) for minute in finer}
        rows = _with_slowest(
            [*finer, *(span for span in rows if span.step_s != HOUR or (span.service_id, span.at) not in told)]
        )
    return ports.sources.slowest(report.tenant_id, [_window(span) for span in rows], limit=MOST_SLOW)


def _with_slowest(spans: Sequence[Span]) -> list[Span]:
    reach = [(span.work.latencies.quantile(1.0), span) for span in spans if span.work.completed > span.work.predictions]
    rows = sorted(((longest, span) for longest, span in reach if longest is not None), key=lambda row: -row[0])
    found: list[Span] = []
    for _, span in rows[:MOST_SLOW]:
        if found and sum(one.work.ended for one in found) + span.work.ended > MOST_READ:
            break  # rather fewer tasks told than all of these read
        found.append(span)
    return found


def _errors(ports: ReportPorts, report: Report, spans: Sequence[Span]) -> Sequence[ErrorCase]:
    """The most frequent codes; each with its newest task, which is looked for in the newest row that has the code."""
    counts: dict[str, int] = {}
    newest: dict[str, Span] = {}
    for span in spans:
        for code, count in span.work.errors.items():
            counts[code] = counts.get(code, 0) + count
            if code not in newest or span.at > newest[code].at:
                newest[code] = span
    told = []
    for code in sorted(counts, key=lambda code: (-counts[code], code))[:MOST_ERRORS]:
        task = ports.sources.failed(report.tenant_id, _window(newest[code]), code)
        task_id, message = task if task is not None else (None, None)
        told.append(ErrorCase(code=code, count=counts[code], task_id=task_id, message=message))
    return told
