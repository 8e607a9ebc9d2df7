"""The sampler: twice a second, one process of the system measures every service that does something."""

from collections.abc import Mapping

import msgspec
import structlog

from inference.clock import monotonic_s
from inference.errors import HotUnavailable
from inference.telemetry.ports import SLOTS_PER_S, TelemetryPorts
from inference.telemetry.queues import Queues
from inference.telemetry.sample import Look, Published, Sample, Work, sample
from inference.telemetry.series import MINUTE, SECOND, Span, second
from inference.telemetry.slots import KEPT_SLOTS, Slots

log = structlog.get_logger(__name__)

DUTY = "sample"
LATE_S = 0.1
"""A slot is read so long after its end: what ends in it is mostly committed by then."""
HELD_S, RENEW_S = 6.0, 2.0
CATCH_UP_S, MOST_SLOTS = 900, 120
"""After an outage so much is filled in, as far as the tables know it: what ended, not how long queues were."""
BATCHES_S = 10.0
NOBODY_LOOKED = Look()


class Sampler:
    """Call `turn` twice a second from one thread. Whether it is this process' duty is settled by the tick table."""

    def __init__(self, ports: TelemetryPorts, *, by: str) -> None:
        self._ports = ports
        self._by = by
        self._renew_at = self._batches_at = float("-inf")
        self._slots: Slots | None = None
        self._unkept: set[int] = set()
        self._queues = Queues(ports.flow)
        self._batches: Mapping[str, int] = {}
        self._looks: dict[int, Mapping[str, Look]] = {}
        self._came: dict[int, Mapping[str, int]] = {}

    def turn(self) -> Published | None:
        """Measures, tells and keeps what is over by now; what it told, None when nothing was due.

        Raises StoreUnavailable: the next turn makes up for this one.
        """
        if not self._holds():
            self._slots = None
            return None
        over = int((self._ports.flow.now_s() - LATE_S) * SLOTS_PER_S)
        slots = self._slots
        if slots is None or over < slots.first:  # or the clock was set back
            slots = self._begin(over)
        until = min(over, slots.next + MOST_SLOTS)
        if until <= slots.next:
            return None
        seconds = range(slots.next // SLOTS_PER_S, until // SLOTS_PER_S)
        slots.read(until)
        self._unkept.update(seconds)
        if until == over and seconds:
            self._look(slots, max(seconds))
            self._unkept.update(slot // SLOTS_PER_S for slot in slots.read_late())
        published = self._published(slots)
        if until == over:
            self._tell(published)
        self._ports.series.put([span for at in sorted(self._unkept) for span in self._spans(slots, at)])
        self._unkept.clear()
        self._forget(slots)
        return published

    def _holds(self) -> bool:
        if monotonic_s() < self._renew_at:
            return True
        is_mine = self._ports.turns.hold(DUTY, by=self._by, for_s=HELD_S)
        if is_mine:
            self._renew_at = monotonic_s() + RENEW_S
        return is_mine

    def _begin(self, over: int) -> Slots:
        """At once, or where the series ended a short while ago."""
        first = over - over % SLOTS_PER_S
        newest = self._ports.series.newest(SECOND)
        if newest is not None and 0 < over / SLOTS_PER_S - newest - 1 <= CATCH_UP_S:
            first = (newest + 1) * SLOTS_PER_S
        self._slots = Slots(self._ports.flow, self._ports.figures, first=first)
        self._queues = Queues(self._ports.flow)
        self._looks, self._came = {}, {}
        self._unkept.clear()
        return self._slots

    def _look(self, slots: Slots, at: int) -> None:
        looks = dict(self._ports.flow.looks())
        self._came[at] = self._queues.count(slots.ended)
        for service_id, (waiting, running) in self._queues.lengths.items():
            known = looks.get(service_id, NOBODY_LOOKED)
            looks[service_id] = msgspec.structs.replace(known, queue_length=waiting, running=running)
        self._looks[at] = looks
        if monotonic_s() >= self._batches_at:
            self._batches, self._batches_at = self._ports.flow.max_batches(), monotonic_s() + BATCHES_S

    def _published(self, slots: Slots) -> Published:
        works = slots.works(slots.next - SLOTS_PER_S, slots.next)
        looks = self._looks[max(self._looks)] if self._looks else {}
        samples: dict[str, Sample] = {
            service_id: sample(
                works.get(service_id) or Work(),
                looks.get(service_id, NOBODY_LOOKED),
                span_s=1.0,
                submitted=self._queues.rates.get(service_id, 0.0),
                max_batch=self._batches.get(service_id, 0),
            )
            for service_id in works.keys() | looks.keys()
        }
        return Published(at=slots.next / SLOTS_PER_S, is_whole=slots.next % SLOTS_PER_S == 0, services=samples)

    def _tell(self, published: Published) -> None:
        try:
            self._ports.figures.publish(published)
        except HotUnavailable as error:
            log.debug("figures_untold", reason=error.message)

    def _spans(self, slots: Slots, at: int) -> list[Span]:
        """The rows of a second: of who did something in it or just before it, and once a minute of who is there."""
        works, looks, came = self._work_of(slots, at), self._looks.get(at, {}), self._came.get(at, {})
        wanted = self._busy(slots, at) | self._busy(slots, at - 1)
        if at % MINUTE == 0:
            wanted |= looks.keys()
        look = looks.get if at in self._looks else lambda _, __: None
        return [
            second(
                service_id,
                at,
                works.get(service_id) or Work(),
                look(service_id, NOBODY_LOOKED),
                submitted=came.get(service_id, 0),
            )
            for service_id in sorted(wanted)
        ]

    def _work_of(self, slots: Slots, at: int) -> dict[str, Work]:
        return slots.works(at * SLOTS_PER_S, (at + 1) * SLOTS_PER_S)

    def _busy(self, slots: Slots, at: int) -> set[str]:
        looks = self._looks.get(at, {})
        busy = {service_id for service_id, look in looks.items() if look.queue_length or look.running}
        return busy | self._work_of(slots, at).keys() | self._came.get(at, {}).keys()

    def _forget(self, slots: Slots) -> None:
        slots.forget()
        least = (slots.next - KEPT_SLOTS) // SLOTS_PER_S
        for at in [at for at in self._looks if at < least]:
            del self._looks[at], self._came[at]
