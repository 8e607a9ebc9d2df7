"""Fakes of what telemetry needs: tables, series and Redis as dictionaries."""

from inference.errors import HotUnavailable
from inference.settings import TelemetrySettings
from inference.telemetry.ports import TelemetryPorts


class FakeFlow:
    """`now` is set by the test; `works` by slot and service, `lengths`, `there` and `most` by service."""

    def __init__(self):
        self.now, self.works, self.lengths, self.there, self.most = 1_000.0, {}, {}, {}, {}
        self.asked = []

    def now_s(self):
        return self.now

    def ended(self, first, until):
        self.asked.append((first, until))
        return {slot: dict(works) for slot, works in self.works.items() if first <= slot < until}

    def count(self, first, until):
        found = [work for slot, works in self.works.items() if first <= slot < until for work in works.values()]
        return sum(work.ended for work in found)

    def queues(self):
        return dict(self.lengths)

    def looks(self):
        return dict(self.there)

    def max_batches(self):
        return dict(self.most)


class FakeSeries:
    def __init__(self):
        self.rows = {}

    def put(self, spans):
        self.rows.update({(span.service_id, span.step_s, span.at): span for span in spans})

    def of_service(self, service_id, *, step_s, since, until):
        return [span for span in self.of_all(step_s=step_s, since=since, until=until) if span.service_id == service_id]

    def of_all(self, *, step_s, since, until):
        found = [span for (_, step, at), span in self.rows.items() if step == step_s and since <= at < until]
        return sorted(found, key=lambda span: span.at)

    def newest(self, step_s):
        return max((at for _, step, at in self.rows if step == step_s), default=None)

    def first(self, step_s, *, since):
        return min((at for _, step, at in self.rows if step == step_s and at >= since), default=None)

    def delete(self, *, step_s, before):
        gone = [key for key in self.rows if key[1] == step_s and key[2] < before]
        for key in gone:
            del self.rows[key]
        return len(gone)


class FakeFigures:
    """`is_away`: as if Redis were. `told`: what was published; `waiting`: what engines told of predictions."""

    def __init__(self):
        self.told, self.waiting, self.is_away = [], [], False

    def publish(self, published):
        self._ask()
        self.told.append(published)

    def newest(self):
        self._ask()
        return self.told[-1] if self.told else None

    def predicted(self):
        self._ask()
        found, self.waiting = self.waiting, []
        return found

    def tell_predicted(self, service_id, works):
        self._ask()
        self.waiting += [(service_id, slot, work) for slot, work in works]

    def _ask(self):
        if self.is_away:
            raise HotUnavailable("away", part="redis", retry_after_s=1)


class FakeTurns:
    def __init__(self):
        self.is_mine = True

    def hold(self, name, *, by, for_s):
        return self.is_mine


def make_telemetry(settings=None):
    return TelemetryPorts(
        flow=FakeFlow(),
        series=FakeSeries(),
        figures=FakeFigures(),
        turns=FakeTurns(),
        settings=settings.telemetry if settings else TelemetrySettings(),
    )
