"""Events of a task: told as they come, resumed where a client stopped, and ended with the task or the key."""

import asyncio
import dataclasses

import orjson
import pytest

from api.live import streams
from api.live.app import create_app
from inference.access.model import ANYBODY
from inference.errors import StoreUnavailable, Unauthenticated
from inference.jobs import submit
from inference.jobs.model import JobSpec, JobState
from inference.jobs.progress import Progress

BASE = "/api/v1/inference"


@pytest.fixture(autouse=True)
def quick_looks(monkeypatch):
    monkeypatch.setattr(streams, "LOOK_S", 0.02)


@pytest.fixture
def task_id(core, service):
    spec = JobSpec(payload=b"", rows=1, bucket="")
    return submit.submit(core.jobs, by=ANYBODY, service_id=service.id, specs=[spec]).job_ids[0]


class Listener:
    """A client of the application that reads a stream while it is open."""

    def __init__(self, app, path, headers=()):
        self.status, self.kind = None, None
        self._gone = asyncio.Event()
        self._chunks = asyncio.Queue()
        scope = {
            "type": "http", "method": "GET", "path": path, "raw_path": path.encode(), "query_string": b"",
            "headers": [(b"host", b"localhost"), *headers], "client": ("127.0.0.1", 1), "asgi": {"version": "3.0"},
            "http_version": "1.1", "scheme": "http", "server": ("localhost", 80), "root_path": "",
        }  # fmt: skip
        self.call = asyncio.ensure_future(app(scope, self._receive, self._send))

    async def _receive(self):
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message):
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.kind = dict(message["headers"]).get(b"content-type", b"").decode()
        else:
            await self._chunks.put(message.get("body", b""))
            if not message.get("more_body"):
                await self._chunks.put(None)

    async def chunk(self):
        """The next piece of the body; None at its end."""
        while (piece := await asyncio.wait_for(self._chunks.get(), 5)) == b"":
            pass
        return piece

    async def event(self):
        """The next event as (id, data); None at the end."""
        while (piece := await self.chunk()) is not None:
            if piece.startswith((b"id:", b"event: error")):
                fields = dict(line.split(": ", 1) for line in piece.decode().strip().split("\n"))
                return fields.get("id", fields["event"]), orjson.loads(fields["data"])
        return None

    async def ids(self):
        """Of all events until the end."""
        found = []
        while (event := await self.event()) is not None:
            found.append(event[0])
        return found

    async def leave(self):
        self._gone.set()
        await asyncio.wait_for(self.call, 5)


def listening(core, scenario):
    """Runs a scenario with a function that opens streams, and the live application's `tell`."""

    async def run():
        told = asyncio.get_running_loop().create_future()

        async def listen(on_ids):
            told.set_result(on_ids)
            await asyncio.Event().wait()

        app = create_app(core, listen)
        async with app.router.lifespan_context(app):
            return await scenario(lambda path, *headers: Listener(app, path, headers), await told)

    return asyncio.run(run())


def of(task_id, base=BASE):
    return f"{base}/tasks/{task_id}/events"


@pytest.mark.parametrize("base", [BASE, "/api/inference"])
def test_a_task_is_followed_from_its_beginning_to_its_end(core, task_id, base):
    async def scenario(open_stream, tell):
        client = open_stream(of(task_id, base))
        found = [await client.event()]
        core.jobs.store.change(task_id, state=JobState.RUNNING, attempts=1, worker="w", started_at=5.0)
        found.append(await client.event())
        core.jobs.store.complete(task_id)
        tell([task_id])
        found.append(await client.event())
        return client.status, client.kind, found, await client.event()

    status, kind, found, end = listening(core, scenario)

    assert (status, kind) == (200, "text/event-stream; charset=utf-8")
    assert [event_id for event_id, _ in found] == ["1.0.pending", "1.1.running", "1.1.completed"]
    assert found[1][1] == {
        "task_id": task_id, "event": "running", "generation": 1, "attempt": 1, "worker": "w",
        "at": "1970-01-01T00:00:05.000000Z",
    }  # fmt: skip
    assert end is None


def report(fraction, message="", *, attempt=1):
    return Progress(generation=1, attempt=attempt, fraction=fraction, message=message, updated_at=5.0)


def test_what_an_engine_reports_is_told_between_the_events_of_its_attempt(core, task_id):
    async def scenario(open_stream, tell):
        client = open_stream(of(task_id))
        await client.event()
        core.progress.reports[task_id] = report(0.9)
        core.jobs.store.change(task_id, state=JobState.RUNNING, attempts=2, worker="w", started_at=5.0)
        await client.event()
        core.progress.reports[task_id] = report(0.25, "loading", attempt=2)
        told = [await client.chunk()]
        core.progress.reports[task_id] = report(0.5, attempt=2)
        told.append(await client.chunk())
        core.jobs.store.complete(task_id)
        tell([task_id])
        return told, await client.event()

    told, end = listening(core, scenario)

    assert told[0].startswith(b"event: progress\ndata: ")  # without an id: a client goes on from its last event
    data = [orjson.loads(piece.partition(b"data: ")[2]) for piece in told]
    assert data[0] == {"fraction": 0.25, "message": "loading", "updated_at": "1970-01-01T00:00:05.000000Z"}
    assert data[1]["fraction"] == 0.5
    assert end[1]["event"] == "completed"


def test_a_client_goes_on_where_it_stopped(core, task_id):
    core.jobs.store.complete(task_id)

    async def scenario(open_stream, tell):
        return await open_stream(of(task_id), (b"last-event-id", b"1.0.pending")).ids()

    assert listening(core, scenario) == ["1.1.completed"]


def test_who_has_heard_the_end_is_told_to_stop_asking(core, client, task_id):
    core.jobs.store.complete(task_id)

    async def scenario(open_stream, tell):
        heard = open_stream(of(task_id), (b"last-event-id", b"1.1.completed"))
        return await heard.ids(), heard.status

    assert listening(core, scenario) == ([], 204)
    assert client.get(of(task_id), headers={"Last-Event-ID": "1.1.completed"}).status_code == 204


def test_a_retry_after_the_end_that_was_heard_is_news(core, task_id):
    core.jobs.store.change(task_id, generation=2)

    async def scenario(open_stream, tell):
        client = open_stream(of(task_id), (b"last-event-id", b"1.0.cancelled"))
        first = await client.event()
        core.jobs.store.change(task_id, state=JobState.CANCELLED, completed_at=9.0)
        return [first[0], *await client.ids()]

    assert listening(core, scenario) == ["2.0.pending", "2.0.cancelled"]


def test_lost_news_are_made_up_for_by_one_look_for_all_streams(core, service, task_id):
    async def scenario(open_stream, tell):
        clients = [open_stream(of(task_id)) for _ in range(20)]
        for client in clients:
            await client.event()
        looks = core.jobs.store.looks
        await asyncio.sleep(0.1)
        looks = core.jobs.store.looks - looks
        core.jobs.store.complete(task_id)
        return looks, [await client.ids() for client in clients]

    looks, found = listening(core, scenario)

    print(f"looks in 0.1 s for 20 streams: {looks}")
    assert looks <= 6
    assert found == [["1.1.completed"]] * 20


def test_nobody_looks_when_nobody_listens(core, task_id):
    async def scenario(open_stream, tell):
        client = open_stream(of(task_id))
        await client.event()
        await client.leave()
        await asyncio.sleep(0.06)
        looks = core.jobs.store.looks
        await asyncio.sleep(0.06)
        return looks, core.jobs.store.looks

    before, after = listening(core, scenario)

    assert before == after


def test_a_quiet_stream_beats(core, task_id, monkeypatch):
    monkeypatch.setattr(streams, "BEAT_S", 0.01)

    async def scenario(open_stream, tell):
        client = open_stream(of(task_id))
        pieces = [await client.chunk() for _ in range(4)]
        await client.leave()
        return pieces

    retry, event, *beats = listening(core, scenario)

    assert retry == b"retry: 1000\n\n"
    assert event.startswith(b"id: 1.0.pending\n")
    assert beats == [b":\n\n", b":\n\n"]


def test_a_revoked_key_ends_its_streams(core, task_id):
    is_revoked = []

    class Door:
        count = staticmethod(lambda principal: None)

        def enter(self, key, *, address, host):
            if is_revoked:
                raise Unauthenticated("This API key is unknown, revoked or expired.")
            return ANYBODY

        stay = enter

    core = dataclasses.replace(core, door=Door())

    async def scenario(open_stream, tell):
        client = open_stream(of(task_id))
        await client.event()
        is_revoked.append(True)
        return await client.event(), await client.event()

    (event_id, data), end = listening(core, scenario)

    assert (event_id, data["code"], end) == ("error", "unauthenticated", None)


def test_streams_outlast_a_database_that_is_away(core, task_id, monkeypatch):
    store = core.jobs.store
    marks, history = store.marks, store.history

    def away(*_):
        raise StoreUnavailable("away", part="sql")

    async def scenario(open_stream, tell):
        client = open_stream(of(task_id))
        await client.event()
        monkeypatch.setattr(store, "marks", away)
        monkeypatch.setattr(store, "history", away)
        tell([task_id])
        await asyncio.sleep(0.1)
        store.complete(task_id)
        monkeypatch.setattr(store, "marks", marks)
        monkeypatch.setattr(store, "history", history)
        return await client.ids()

    assert listening(core, scenario) == ["1.1.completed"]


def test_a_task_that_is_removed_ends_its_streams(core, task_id):
    async def scenario(open_stream, tell):
        client = open_stream(of(task_id))
        await client.event()
        del core.jobs.store.views_by_id[task_id]
        return await client.event(), await client.event()

    (event_id, data), end = listening(core, scenario)

    assert (event_id, data["code"], end) == ("error", "job_not_found", None)


@pytest.mark.parametrize("wrong", ["nope", "0" * 32])
def test_what_is_not_there_is_refused_before_a_stream_begins(core, client, wrong):
    async def scenario(open_stream, tell):
        listener = open_stream(of(wrong))
        return await listener.chunk(), listener.status

    body, status = listening(core, scenario)

    assert status == 404
    assert orjson.loads(body) == client.get(of(wrong)).json


def test_without_the_front_what_has_happened_so_far_is_told(core, client, task_id):
    response = client.get(of(task_id))

    assert (response.status_code, response.mimetype) == (200, "text/event-stream")
    assert response.text.startswith("id: 1.0.pending\nevent: pending\ndata: {")
    assert response.text.endswith("}\n\n")
