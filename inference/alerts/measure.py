"""The value of each rule for each service that it is about."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property

from inference.alerts.availability import availability
from inference.alerts.model import SAMPLED, Metric, Reading, Rule, Subject
from inference.alerts.ports import Sources
from inference.serving.model import MEANT_TO_RUN, ServiceState
from inference.telemetry.sample import Look, Sample, sample
from inference.telemetry.series import MINUTE, SECOND, Span

FINE_S = 120.0
"""A window up to this long is made of seconds, a longer one of minutes."""
REAL = frozenset({"nvml", "replay"})
"""Where the use of a GPU is measured. What is only configured has none."""
AWAKE = frozenset(state.value for state in MEANT_TO_RUN | {ServiceState.ERROR, ServiceState.PREEMPTED})


class Measure:
    """One look: each source is read when the first rule asks for it, and then for all services at once."""

    def __init__(
        self,
        sources: Sources,
        subjects: Sequence[Subject],
        rules: Iterable[Rule],
        *,
        now: float,
        tenant_id: str | None = None,
    ) -> None:
        self._tenant_id = tenant_id
        self._sources = sources
        self._now = now
        self._subjects: dict[str, list[Subject]] = defaultdict(list)
        for subject in subjects:
            self._subjects[subject.tenant_id].append(subject)
        self._rules = list(rules)
        self._windows: dict[float, Mapping[str, Sample]] = {}

    def readings(self) -> Iterator[Reading]:
        """For each rule, of each service that it is about; for a budget also of the tenant as a whole."""
        for rule in self._rules:
            for subject in self._subjects[rule.tenant_id]:
                if rule.service_id in ("", subject.id):
                    yield Reading(rule=rule, service_id=subject.id, value=self._value(rule, subject))
            if rule.metric is Metric.BUDGET_USED and not rule.service_id:
                yield Reading(rule=rule, service_id="", value=self._budgets.get((rule.tenant_id, "")))

    def _value(self, rule: Rule, subject: Subject) -> float | None:
        if rule.metric in SAMPLED:
            return self._sampled(rule, subject)
        match rule.metric:
            case Metric.QUEUE_AGE:
                return self._oldest.get(subject.id, 0.0)
            case Metric.LOAD_FAILURES:
                return float(self._failures.get(subject.id, 0))
            case Metric.AVAILABILITY:
                since = self._now - rule.window_s
                moves = [move for move in self._moves.get(subject.id, ()) if move[0] >= since]
                if not moves and subject.state not in AWAKE:
                    return None
                return availability(moves, subject.state, since=since, now=self._now)
            case Metric.BUDGET_USED:
                return self._budgets.get((subject.tenant_id, subject.id))
            case _:
                count = self._sources.log_entries(
                    subject.id,
                    level=rule.log_level,
                    keyword=rule.log_keyword,
                    since=self._now - rule.window_s,
                    until=self._now,
                )
                return count * 60 / rule.window_s

    def _sampled(self, rule: Rule, subject: Subject) -> float | None:
        found = self._window(rule.window_s).get(subject.id)
        if found is None:
            return 0.0 if rule.metric in (Metric.QUEUE_LENGTH, Metric.THROUGHPUT) and subject.state in AWAKE else None
        if rule.metric is Metric.GPU and found.gpu_source not in REAL:
            return None
        value = getattr(found, rule.metric.value)
        return None if value is None else float(value)

    def _window(self, window_s: float) -> Mapping[str, Sample]:
        if window_s not in self._windows:
            step_s = SECOND if window_s <= FINE_S else MINUTE
            since = int(self._now - window_s) // step_s * step_s
            spans = self._spans[step_s]
            self._windows[window_s] = _samples((span for span in spans if span.at >= since), window_s)
        return self._windows[window_s]

    @cached_property
    def _spans(self) -> Mapping[int, Sequence[Span]]:
        """As far back as the longest window of either kind asks."""
        found: dict[int, Sequence[Span]] = {}
        windows = [rule.window_s for rule in self._rules if rule.metric in SAMPLED]
        for step_s, wanted in (
            (SECOND, [one for one in windows if one <= FINE_S]),
            (MINUTE, [one for one in windows if one > FINE_S]),
        ):
            since = int(self._now - max(wanted, default=0.0)) // step_s * step_s
            until = int(self._now) + 1
            found[step_s] = self._sources.spans(step_s=step_s, since=since, until=until) if wanted else []
        return found

    @cached_property
    def _oldest(self) -> Mapping[str, float]:
        return self._sources.oldest_s(self._tenant_id)

    @cached_property
    def _failures(self) -> Mapping[str, int]:
        return self._sources.load_failures()

    @cached_property
    def _moves(self) -> Mapping[str, Sequence[tuple[float, str, str]]]:
        windows = [rule.window_s for rule in self._rules if rule.metric is Metric.AVAILABILITY]
        return self._sources.moves(since=self._now - max(windows, default=0.0))

    @cached_property
    def _budgets(self) -> Mapping[tuple[str, str], float]:
        return self._sources.budgets_used()


def _samples(spans: Iterable[Span], window_s: float) -> dict[str, Sample]:
    wide: dict[str, Span] = {}
    for span in spans:
        if span.service_id not in wide:
            wide[span.service_id] = Span(service_id=span.service_id, step_s=SECOND, at=span.at)
        wide[span.service_id].merge(span)
    return {service_id: _sample(span, window_s) for service_id, span in wide.items()}


def _sample(span: Span, window_s: float) -> Sample:
    look = Look(
        queue_length=round(span.queue_s / window_s),
        running=round(span.running_s / window_s),
        cpu=span.cpu,
        memory_bytes=span.memory_bytes,
        gpu_share=span.gpu_share,
        gpu_source=span.gpu_source,
    )
    return sample(span.work, look, span_s=window_s)
