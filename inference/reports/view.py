"""What the template shows, as plain texts and plots: it only loops. Pure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from inference.alerts import texts as alert_texts
from inference.alerts.model import Metric
from inference.reports import plots, shown
from inference.reports.model import AlertSeen, Facts, Figures, Moment, Report
from inference.reports.story import paragraph
from inference.reports.texts import CATALOGUE, say

TASKS = "/api/v1/inference/tasks/"
MESSAGE_CHARS = 300
SHOWN_S = 60
"""Times are told to the minute: what is less cannot be seen."""
STEADY = 0.03
"""A change of less is told as none."""

Pick = Callable[[Figures], float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A figure beside that of the range before. `verdict`: better, worse, or empty where neither can be said."""

    name: str
    now: str
    before: str
    change: str
    verdict: str


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """`title` and `summary` are texts; `plots` and `bar` in `errors` are SVG that was escaped when it was made."""

    words: Mapping[str, str]
    title: str
    period: str
    made: str
    zone: str
    summary: str
    tiles: Sequence[Row]
    plots: Sequence[tuple[str, str]]
    rows: Sequence[Row]
    services: Sequence[Sequence[str]]
    errors: Sequence[Mapping[str, str]]
    slowest: Sequence[Mapping[str, str]]
    alerts: Sequence[Mapping[str, str]]
    has_more_alerts: bool
    notes: Sequence[str]


def view(report: Report, facts: Facts, *, base_url: str) -> View:
    """`base_url` empty: links are relative, where a page is served beside the API, and left out of a PDF."""
    language, zone = report.language, report.timezone
    words = CATALOGUE[language]
    # In a PDF nothing is relative to anything.
    link = partial(_link, base_url, has_none=report.format.value == "pdf" and not base_url)
    names = {subject.id: subject.name for subject in facts.subjects}
    shown_rows = _rows(facts, words)
    return View(
        words=words,
        title=title(report, facts),
        period=period(report, report.since, report.until),
        made=say(language, "made", at=shown.moment(facts.made_at, zone)),
        zone=say(language, "zone", zone=zone),
        summary=paragraph(facts, language),
        tiles=[shown_rows[key] for key in ("done", "per_s", "p95", "error_ratio", "gpu", "money") if key in shown_rows],
        plots=_plots(facts, words, zone),
        rows=list(shown_rows.values()),
        services=_services(facts, names),
        errors=[
            {
                "code": case.code,
                "count": shown.count(case.count),
                "share": shown.share(case.count / max(1, facts.now.failed)),
                "bar": plots.bar(case.count / max(1, facts.now.failed)),
                "task": case.task_id or "",
                "link": link(case.task_id),
                "message": _short(case.message),
            }
            for case in facts.errors
        ],
        slowest=[
            {
                "task": task.id,
                "link": link(task.id),
                "service": names.get(task.service_id, ""),
                "took": shown.duration(task.latency_s),
                "waited": shown.duration(None if task.started_at is None else task.started_at - task.submitted_at),
                "ran": shown.duration(None if task.started_at is None else task.completed_at - task.started_at),
                "ended": shown.moment(task.completed_at, zone),
                "worker": task.worker or "",
            }
            for task in facts.slowest
        ],
        alerts=[
            {
                "name": alert.name,
                "severity": words.get(alert.severity, alert.severity),
                "is_critical": "critical" if alert.severity == "critical" else "",
                "service": names.get(alert.service_id, ""),
                "fired": shown.moment(alert.fired_at, zone),
                "resolved": "" if alert.resolved_at is None else shown.moment(alert.resolved_at, zone),
                "value": _value(alert, language),
            }
            for alert in facts.alerts
        ],
        has_more_alerts=facts.alerts_more > 0,
        notes=_notes(report, facts),
    )


def title(report: Report, facts: Facts) -> str:
    """Of the page, and of the letter that carries it."""
    if not report.service_id:
        return CATALOGUE[report.language]["title_all"]
    return say(report.language, "title_service", name=facts.subjects[0].name if facts.subjects else report.service_id)


def period(report: Report, since: float, until: float) -> str:
    """A range of time, for people."""
    begins, ends = (shown.moment(at, report.timezone) for at in (since, until))
    return say(report.language, "from_to", begins=begins, ends=ends)


def _value(alert: AlertSeen, language: str) -> str:
    """What was found, and the limit, as alerts themselves tell it."""
    try:
        metric = Metric(alert.metric)
    except ValueError:  # of a newer version
        return f"{alert.metric}: {shown.count(alert.value)} / {shown.count(alert.threshold)}"
    value, limit = (alert_texts.shown(metric, number) for number in (alert.value, alert.threshold))
    return f"{alert_texts.CATALOGUE[language][metric].what}: {value} / {limit}"


def _link(base_url: str, task_id: str | None, *, has_none: bool) -> str:
    return "" if has_none or not task_id else f"{base_url.rstrip('/')}{TASKS}{task_id}"


def _short(text: str | None) -> str:
    text = text or ""
    return text if len(text) <= MESSAGE_CHARS else f"{text[:MESSAGE_CHARS]}…"


def _rows(facts: Facts, words: Mapping[str, str]) -> dict[str, Row]:
    """Those of which anything is known. `sign`: 1 where more is better, -1 where less is, 0 where neither."""
    money = partial(shown.money, currency=facts.currency)

    def rate(number: float | None) -> str:
        return words["a_second"].format(rate=shown.rate(number)) if number is not None else shown.NOTHING

    told: tuple[tuple[str, Pick, Callable[[float | None], str], int], ...] = (
        ("done", lambda of: of.done, shown.count, 1),
        ("failed", lambda of: of.failed, shown.count, -1),
        ("per_s", lambda of: of.per_s, rate, 1),
        ("error_ratio", lambda of: of.error_ratio, shown.share, -1),
        ("p50", lambda of: of.p50_s, shown.duration, -1),
        ("p95", lambda of: of.p95_s, shown.duration, -1),
        ("p99", lambda of: of.p99_s, shown.duration, -1),
        ("run", lambda of: of.run_s, shown.duration, -1),
        ("wait", lambda of: of.wait_s, shown.duration, -1),
        ("wait_p95", lambda of: of.wait_p95_s, shown.duration, -1),
        ("queue_most", lambda of: of.queue_most, shown.count, -1),
        ("batch", lambda of: of.batch, shown.count, 0),
        ("batch_fill", lambda of: of.batch_fill, shown.share, 0),
        ("gpu", lambda of: of.gpu, shown.share, 0),
        ("gpu_memory", lambda of: of.gpu_memory_bytes, shown.size, 0),
        ("cpu", lambda of: of.cpu, shown.count, 0),
        ("memory", lambda of: of.memory_bytes, shown.size, 0),
        ("instances", lambda of: of.instances, shown.count, 0),
        ("money", lambda of: of.money, money, -1),
        ("idle_money", lambda of: of.idle_money, money, -1),
    )
    found = {}
    for key, pick, form, sign in told:
        now, before = pick(facts.now), pick(facts.before)
        if now is not None or before is not None:
            change, verdict = _change(now, before, sign, words["no_change"])
            found[key] = Row(name=words[key], now=form(now), before=form(before), change=change, verdict=verdict)
    return found


def _change(now: float | None, before: float | None, sign: int, same: str) -> tuple[str, str]:
    if now is None or before is None:
        return shown.NOTHING, ""
    if now == before:
        return same, ""
    if before == 0:
        return "▲" if now > 0 else "▼", _verdict(now, sign)
    part = now / before - 1
    if abs(part) < STEADY:
        return same, ""
    grown = f"{now / before:.3g}×" if part > 9 else f"{abs(part) * 100:.0f} %"
    return f"{'▲' if part > 0 else '▼'} {grown}", _verdict(part, sign)


def _verdict(part: float, sign: int) -> str:
    return "" if not sign else "better" if part * sign > 0 else "worse"


def _plots(facts: Facts, words: Mapping[str, str], zone: str) -> Sequence[tuple[str, str]]:
    """Those that have something to show."""
    span_s = facts.ends - facts.begins
    labels = [shown.tick(moment.at, zone, span_s=span_s) for moment in facts.moments]

    def values(pick: Callable[[Moment], float | None]) -> list[float | None]:
        return [pick(moment) for moment in facts.moments]

    def drawn(
        name: str, form: Callable[[float], str], *given: plots.Line, most: float | None = None
    ) -> tuple[str, str]:
        return words[name], plots.lines(given, title=words[name], labels=labels, shown=form, most=most)

    def line(key: str, pick: Callable[[Moment], float | None], colour: int = 0, **more: bool) -> plots.Line:
        return plots.Line(name=words[key], values=values(pick), colour=colour, **more)

    found = [
        drawn(
            "plot_throughput",
            shown.rate,
            line("line_done", lambda of: of.per_s, is_filled=True),
            line("line_failed", lambda of: of.failed_per_s, 1),
        ),
        drawn(
            "plot_latency",
            shown.duration,
            line("line_p50", lambda of: of.p50_s, 2),
            line("line_p95", lambda of: of.p95_s, 0),
            line("line_p99", lambda of: of.p99_s, 3),
        ),
        drawn("plot_queue", shown.count, line("line_queue", lambda of: of.queue_most, 3, is_filled=True)),
    ]
    if any(moment.gpu is not None for moment in facts.moments):
        found.append(drawn("plot_devices", shown.share, line("line_gpu", lambda of: of.gpu, 2), most=1.0))
    elif any(moment.cpu is not None for moment in facts.moments):
        found.append(drawn("plot_cpu", shown.count, line("line_cpu", lambda of: of.cpu, 2)))
    return found


def _services(facts: Facts, names: Mapping[str, str]) -> Sequence[Sequence[str]]:
    """Busiest first."""
    order = sorted(facts.of_services.items(), key=lambda one: (-one[1].done, names[one[0]]))
    return [
        (
            names[service_id],
            shown.count(of.done),
            shown.count(of.failed),
            shown.share(of.error_ratio),
            shown.duration(of.p50_s),
            shown.duration(of.p95_s),
            shown.duration(of.wait_p95_s),
            shown.share(of.batch_fill),
            shown.money(of.money, facts.currency),
        )
        for service_id, of in order
    ]


def _notes(report: Report, facts: Facts) -> list[str]:
    words, language = CATALOGUE[report.language], report.language
    notes = [] if facts.is_measured else [words["note_none"]]
    notes.append(words["note_measured"])
    if max(report.since - facts.begins, facts.ends - report.until) >= SHOWN_S:
        notes.append(say(language, "note_range", range=period(report, facts.begins, facts.ends)))
    if facts.now.money is not None:
        notes.append(words["note_cost"])
    if facts.now.gpu_source is not None:
        notes.append(say(language, "note_gpu", source=facts.now.gpu_source))
    return notes
