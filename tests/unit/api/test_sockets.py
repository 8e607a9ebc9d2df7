"""The WebSocket of live metrics: what is said on it, what is pushed, to whom, and when it ends."""

import asyncio

import orjson
import pytest

from api.live import monitor, sockets
from api.live.app import create_app
from api.live.seats import Seats
from inference.errors import PenstockError, Unauthenticated
from inference.telemetry.sample import METRICS, Published, Sample
from tests.fakes import add_model, add_service

BASE = "/api/v1/inference"


@pytest.fixture(autouse=True)
def quick_looks(monkeypatch):
    monkeypatch.setattr(sockets, "LOOK_S", 0.02)


def published(service_id, at=10.0, **figures):
    return Published(at=at, is_whole=at == int(at), services={service_id: Sample(**figures)})


class Client:
    """A WebSocket of the application, without a network. `holds_back`: it does not read for now."""

    def __init__(self, app, service_id, *, headers=(), offered=()):
        self._to_app, self._from_app = asyncio.Queue(), asyncio.Queue()
        self.holds_back = asyncio.Event()
        self.holds_back.set()
        path = f"{BASE}/services/{service_id}/monitor"
        scope = {
            "type": "websocket", "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "",
            "headers": [(b"host", b"localhost"), *headers], "client": ("127.0.0.1", 1), "asgi": {"version": "3.0"},
            "http_version": "1.1", "scheme": "ws", "server": ("localhost", 80), "subprotocols": list(offered),
            "extensions": {"websocket.http.response": {}},
        }  # fmt: skip
        self._to_app.put_nowait({"type": "websocket.connect"})
        self.call = asyncio.ensure_future(app(scope, self._to_app.get, self._send))

    async def _send(self, message):
        await self.holds_back.wait()
        await self._from_app.put(message)

    async def next(self):
        return await asyncio.wait_for(self._from_app.get(), 5)

    async def opened(self):
        assert (await self.next())["type"] == "websocket.accept"
        return self

    async def heard(self):
        return orjson.loads((await self.next())["text"])

    async def says(self, message):
        text = message if isinstance(message, str) else orjson.dumps(message).decode()
        await self._to_app.put({"type": "websocket.receive", "text": text})

    async def asks(self, message):
        await self.says(message)
        return await self.heard()

    async def leaves(self):
        await self._to_app.put({"type": "websocket.disconnect", "code": 1000})
        await asyncio.wait_for(self.call, 5)


class World:
    """The application and the news that it hears. `tell` is there once a socket is."""

    def __init__(self, core):
        self.tells = []

        async def listen_figures(hear):
            self.tells.append(hear)
            await asyncio.Event().wait()

        self.app = create_app(core, None, None, listen_figures)

    async def tell(self, told):
        while not self.tells:
            await asyncio.sleep(0)
        self.tells[-1](told)


def run(core, steps):
    async def go():
        return await asyncio.wait_for(steps(World(core)), 20)

    return asyncio.run(go())


def test_a_client_gets_the_metrics_that_it_asked_for(core, service):
    async def steps(world):
        client = await Client(world.app, service.id).opened()
        told = await client.asks({"action": "subscribe", "metrics": ["throughput", "latency", "queue_length"]})
        await world.tell(published(service.id, latency=0.5, throughput=2.0, queue_length=3))
        heard = await client.heard()
        await client.leaves()
        return told, heard

    told, heard = run(core, steps)

    assert told["subscriptions"] == [{"service_id": service.id, "metrics": ["throughput", "latency", "queue_length"]}]
    assert heard == {
        "type": "metrics",
        "service_id": service.id,
        "at": "1970-01-01T00:00:10.000000Z",
        "latency": 0.5,
        "throughput": 2.0,
        "queue_length": 3,
    }


def test_several_services_go_over_one_socket_until_they_are_given_up(core, service):
    other = add_service(core, model=add_model(core, name="other"))

    async def steps(world):
        client = await Client(world.app, service.id).opened()
        await client.asks({"action": "subscribe", "service_ids": [service.id, other.id], "metrics": ["errors"]})
        await world.tell(published(other.id, errors=1.0))
        first = [await client.heard(), await client.heard()]
        left = await client.asks({"action": "unsubscribe", "service_ids": [service.id]})
        await world.tell(published(other.id, at=11.0))
        second = await client.heard()
        none = await client.asks({"action": "unsubscribe"})
        await world.tell(published(other.id, at=12.0))
        pong = await client.asks({"action": "ping"})
        await client.leaves()
        return first, left, second, none, pong

    first, left, second, none, pong = run(core, steps)

    assert {one["service_id"]: one["errors"] for one in first} == {service.id: 0.0, other.id: 1.0}
    assert [one["service_id"] for one in left["subscriptions"]] == [other.id]
    assert second["service_id"] == other.id
    assert none["subscriptions"] == []
    assert pong == {"type": "pong"}


def test_who_reads_slowly_gets_the_newest_figures_and_not_all_that_were(core, service):
    async def steps(world):
        client = await Client(world.app, service.id).opened()
        await client.asks({"action": "subscribe", "metrics": ["queue_length"]})
        client.holds_back.clear()
        for at in range(100):
            await world.tell(published(service.id, at=float(at), queue_length=at))
            await asyncio.sleep(0)
        client.holds_back.set()
        heard = [await client.heard()]
        while heard[-1]["queue_length"] < 99:
            heard.append(await client.heard())
        await client.leaves()
        return heard

    assert len(run(core, steps)) <= 3


def test_figures_that_stop_are_told_of(core, service, monkeypatch):
    monkeypatch.setattr(sockets, "STALE_S", 0.05)

    async def steps(world):
        client = await Client(world.app, service.id).opened()
        await client.asks({"action": "subscribe"})
        heard = await client.heard()
        await client.leaves()
        return heard

    assert run(core, steps)["type"] == "stale"


def test_a_bad_message_is_answered_and_the_socket_stays(core, service):
    async def steps(world):
        client = await Client(world.app, service.id).opened()
        bad = await client.asks("nonsense")
        unknown = await client.asks({"action": "subscribe", "service_ids": ["0" * 32]})
        good = await client.asks({"action": "ping"})
        await client.leaves()
        return bad, unknown, good

    bad, unknown, good = run(core, steps)

    assert (bad["type"], bad["code"], unknown["code"]) == ("error", "malformed_json", "service_not_found")
    assert good == {"type": "pong"}


def test_who_talks_nonsense_all_the_time_is_put_out(core, service):
    async def steps(world):
        client = await Client(world.app, service.id).opened()
        for _ in range(sockets.MOST_BAD):
            await client.says("nonsense")
        while (message := await client.next())["type"] == "websocket.send":
            pass
        await client.leaves()
        return message

    message = run(core, steps)

    assert (message["type"], message["code"], message["reason"]) == ("websocket.close", 1008, "malformed_json")


def test_a_key_that_is_revoked_ends_the_socket(core, service, monkeypatch):
    def refuse(*_, **__):
        raise Unauthenticated("gone")

    async def steps(world):
        client = await Client(world.app, service.id).opened()
        monkeypatch.setattr(core.door, "stay", refuse)
        said, closed = await client.heard(), await client.next()
        await client.leaves()
        return said, closed

    said, closed = run(core, steps)

    assert said["code"] == "unauthenticated"
    assert (closed["type"], closed["code"]) == ("websocket.close", 1008)


def test_a_service_that_is_deleted_is_no_longer_pushed(core, service, monkeypatch):
    monkeypatch.setattr(sockets, "SCOPE_S", 0.0)

    async def steps(world):
        client = await Client(world.app, service.id).opened()
        await client.asks({"action": "subscribe"})
        core.serving.services.rows.pop(service.id)
        heard = await client.heard()
        await client.leaves()
        return heard

    heard = run(core, steps)

    assert (heard["type"], heard["code"]) == ("error", "service_not_found")


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"service_id": "0" * 32}, 404, "service_not_found"),
        ({"service_id": "x"}, 404, "service_not_found"),
        ({"headers": [(b"origin", b"http://evil.example")]}, 403, "cross_origin"),
        ({"headers": [(b"authorization", b"Bearer pst_wrong")]}, 401, "unauthenticated"),
        ({"offered": ["penstock", "penstock.key.pst_wrong"]}, 401, "unauthenticated"),
    ],
)
def test_a_refused_handshake_is_an_answer_as_of_any_call(core, service, changes, status, code):
    async def steps(world):
        client = Client(world.app, **{"service_id": service.id, **changes})
        start, body = await client.next(), await client.next()
        await asyncio.wait_for(client.call, 5)
        return start, orjson.loads(body["body"])

    start, body = run(core, steps)

    assert (start["type"], start["status"], body["code"]) == ("websocket.http.response.start", status, code)
    assert (b"x-content-type-options", b"nosniff") in start["headers"]


def test_a_page_shows_its_key_as_a_subprotocol_and_gets_back_the_plain_one(core, service, monkeypatch):
    shown = []
    enter = core.door.enter
    monkeypatch.setattr(core.door, "enter", lambda key, **more: shown.append(key) or enter(None, **more))

    async def steps(world):
        client = Client(world.app, service.id, offered=["penstock", "penstock.key.pst_mine"])
        accepted = await client.next()
        await client.leaves()
        return accepted

    accepted = run(core, steps)

    assert (accepted["subprotocol"], shown) == ("penstock", ["pst_mine"])


def test_sockets_take_seats_as_all_that_waits(core, service):
    async def steps(world):
        app = Seats(world.app, most=1, behind_front=False)
        first = await Client(app, service.id).opened()
        second = Client(app, service.id)
        refused, body = await second.next(), await second.next()
        await first.leaves()
        third = await Client(app, service.id).opened()
        await third.leaves()
        return refused, orjson.loads(body["body"])

    refused, body = run(core, steps)

    assert (refused["status"], body["code"]) == (429, "too_many_waiting")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (None, "malformed_json"),
        ("{", "malformed_json"),
        ('{"action": NaN}', "malformed_json"),
        ("[]", "invalid_field"),
        ("{}", "invalid_field"),
        ('{"action": ["ping"]}', "invalid_field"),
        ('{"action": "ping", "x": 1}', "unknown_field"),
        ('{"action": "subscribe", "metrics": []}', "invalid_field"),
        ('{"action": "subscribe", "metrics": ["latncy"]}', "invalid_field"),
        ('{"action": "subscribe", "metrics": "latency"}', "invalid_field"),
        ('{"action": "subscribe", "service_ids": ["../etc"]}', "service_not_found"),
        ('{"action": "subscribe", "service_ids": [1]}', "invalid_field"),
        (" " * 20_000, "too_large"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(text, code):
    with pytest.raises(PenstockError) as refused:
        monitor.read(text)

    assert refused.value.code == code


def test_metrics_are_added_to_those_that_were_wanted_already():
    wants = monitor.Subscriptions()

    wants.add(["a"], ["running"])
    wants.add(["a"], ["latency"])
    wants.remove(["a", "b"], ["running"])

    assert wants.services == {"a": ("latency",)}


def test_one_socket_may_not_watch_everything():
    wants = monitor.Subscriptions()
    wants.add([str(number) for number in range(monitor.MOST_SERVICES)], None)

    with pytest.raises(PenstockError, match="100"):
        wants.add(["one more"], None)


def test_the_usual_metrics_exist():
    assert set(monitor.USUAL) <= set(METRICS)
