"""What clients and server say to each other over the WebSocket of live metrics; without the socket."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from api import errors
from inference import clock
from inference.errors import InvalidField, MalformedJson, PenstockError, ServiceNotFound, TooLarge, UnknownField
from inference.ids import is_id
from inference.telemetry.sample import METRICS, Published, chosen

MOST_BYTES = 16_384
MOST_SERVICES = 100
"""On one socket."""
USUAL = (
    *("latency", "latency_p50", "latency_p95", "latency_p99", "throughput", "errors", "error_ratio"),
    *("queue_length", "queue_wait", "running", "instances_ready"),
)
"""What a client gets that names no metrics."""
PONG = b'{"type":"pong"}'
ACTIONS: Mapping[str, frozenset[str]] = {
    "subscribe": frozenset({"action", "service_ids", "metrics"}),
    "unsubscribe": frozenset({"action", "service_ids", "metrics"}),
    "ping": frozenset({"action"}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """One message of a client. `service_ids` and `metrics` are None where it named none."""

    action: str
    service_ids: tuple[str, ...] | None = None
    metrics: tuple[str, ...] | None = None


def read(text: str | bytes | None) -> Said:
    """What a message says. Raises MalformedJson, TooLarge, UnknownField, InvalidField, ServiceNotFound."""
    if not isinstance(text, str):
        raise MalformedJson("Send JSON as a text message.")
    if len(text) > MOST_BYTES:
        raise TooLarge(f"A message may have {MOST_BYTES} bytes.", limit_bytes=MOST_BYTES)
    try:
        said = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise MalformedJson(f"The message is not valid JSON: {error}") from error
    if not isinstance(said, dict):
        raise InvalidField('A message is an object such as {"action":"subscribe"}.', field="message")
    action = said.get("action")
    known = ACTIONS.get(action) if isinstance(action, str) else None
    if known is None:
        raise InvalidField(f"`action` must be one of {', '.join(ACTIONS)}.", field="action")
    if unknown := sorted(said.keys() - known):
        raise UnknownField(f"There is no field `{unknown[0][:64]}` in {action}.", field=unknown[0][:64])
    service_ids = _names(said, "service_ids", most=MOST_SERVICES)
    for service_id in service_ids or ():
        if not is_id(service_id):
            raise ServiceNotFound(f"There is no service `{service_id[:64]}`.", id=service_id[:64])
    metrics = _names(said, "metrics", most=len(METRICS))
    for name in metrics or ():
        if name not in METRICS:
            raise InvalidField(f"There is no metric `{name[:64]}`; known: {', '.join(METRICS)}.", field="metrics")
    return Said(action=str(action), service_ids=service_ids, metrics=metrics)


def _names(said: Mapping[str, Any], field: str, *, most: int) -> tuple[str, ...] | None:
    names = said.get(field)
    if names is None:
        return None
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise InvalidField(f"`{field}` must be a list of names, with one at least.", field=field)
    if len(names) > most:
        raise InvalidField(f"`{field}` may have {most} entries.", field=field)
    return tuple(dict.fromkeys(names))


class Subscriptions:
    """Which metrics of which services one socket wants. `services`: each with its metrics, in the order of METRICS."""

    __slots__ = ("services",)

    def __init__(self) -> None:
        self.services: dict[str, tuple[str, ...]] = {}

    def add(self, service_ids: Iterable[str], metrics: Sequence[str] | None) -> None:
        """To what there is already. Raises InvalidField for too many services."""
        wanted = list(service_ids)
        if len(self.services.keys() | set(wanted)) > MOST_SERVICES:
            raise InvalidField(f"A socket may watch {MOST_SERVICES} services.", field="service_ids")
        for service_id in wanted:
            self.services[service_id] = _ordered({*self.services.get(service_id, ()), *(metrics or USUAL)})

    def remove(self, service_ids: Iterable[str] | None, metrics: Sequence[str] | None) -> None:
        """None means all of them. What is not there is removed already."""
        for service_id in list(self.services if service_ids is None else service_ids):
            left = _ordered(set(self.services.get(service_id, ())) - set(metrics or METRICS))
            if left:
                self.services[service_id] = left
            else:
                self.services.pop(service_id, None)

    def told(self) -> bytes:
        """The answer to a change: all that the socket watches now."""
        listed = [{"service_id": one, "metrics": metrics} for one, metrics in self.services.items()]
        return orjson.dumps({"type": "subscribed", "subscriptions": listed})


def _ordered(names: set[str]) -> tuple[str, ...]:
    return tuple(name for name in METRICS if name in names)


class Rendered:
    """The messages of one publication; each is written once, however many sockets get it."""

    def __init__(self, published: Published) -> None:
        self.at = published.at
        self._published = published
        self._at = clock.iso(published.at)
        self._known: dict[tuple[str, tuple[str, ...]], str] = {}

    def message(self, service_id: str, metrics: tuple[str, ...]) -> str:
        """These figures of a service, as JSON."""
        key = service_id, metrics
        text = self._known.get(key)
        if text is None:
            figures = chosen(self._published.of(service_id), metrics)
            told = {"type": "metrics", "service_id": service_id, "at": self._at, **figures}
            text = self._known[key] = orjson.dumps(told).decode()
        return text


def refusal(error: PenstockError) -> bytes:
    """The message that says so, on a socket that stays open: `{"type", "code", "message", "details"}`."""
    return b'{"type":"error",' + errors.answer(error).body[1:]


def stale(at: float | None) -> str:
    """What is sent instead of figures while there are none."""
    said = "No figures come at the moment: the control process or Redis is away."
    return orjson.dumps({"type": "stale", "at": clock.iso(at), "message": said}).decode()
