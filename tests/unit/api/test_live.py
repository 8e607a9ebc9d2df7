"""Long polls: who waits is told once, in time, and never misses the end."""

import asyncio

import httpx
import pytest

from api.live.app import create_app
from inference.access.model import ANYBODY, Scope
from inference.errors import JobNotFound
from inference.jobs import submit
from inference.jobs.model import JobSpec, JobState
from tests.long_polls import SCOPE, Store, an_end, waiting

BASE = "/api/v1/inference"


def test_a_finished_task_is_answered_at_once():
    async def scenario(waiters, store, gone):
        store.finish()
        return (
            await waiters.last_view("a", wait_s=30, scope=SCOPE, read=store.read, gone=gone),
            store.reads,
            len(waiters),
        )

    view, reads, left = waiting(scenario)

    assert (view.state, reads, left) == (JobState.COMPLETED, 1, 0)


def test_news_wakes_all_who_wait_for_it_and_nobody_else():
    async def scenario(waiters, store, gone):
        other = Store()
        how = {"wait_s": 30, "scope": SCOPE, "gone": gone}
        polls = [asyncio.ensure_future(waiters.last_view("a", **how, read=store.read)) for _ in range(3)]
        elsewhere = asyncio.ensure_future(waiters.last_view("b", **how, read=other.read))
        await asyncio.sleep(0.01)
        store.finish()
        waiters.hear(["a", "unknown"])
        views = await asyncio.wait_for(asyncio.gather(*polls), 0.5)
        is_waiting = not elsewhere.done()
        elsewhere.cancel()
        return views, is_waiting, other.reads

    views, is_waiting, other_reads = waiting(scenario)

    assert [view.state for view in views] == [JobState.COMPLETED] * 3
    assert is_waiting
    assert other_reads == 1


def test_news_between_the_reading_and_the_waiting_is_not_missed():
    async def scenario(waiters, store, gone):
        def finish_unseen():
            store.finish()
            waiters.hear(["a"])

        store.before_answer = finish_unseen
        return await asyncio.wait_for(waiters.last_view("a", wait_s=30, scope=SCOPE, read=store.read, gone=gone), 0.5)

    assert waiting(scenario).state is JobState.COMPLETED


def test_news_during_a_later_reading_is_not_missed(monkeypatch):
    monkeypatch.setattr("api.live.waiters.READ_AGAIN_S", (0.02,))

    async def scenario(waiters, store, gone):
        poll = asyncio.ensure_future(waiters.last_view("a", wait_s=30, scope=SCOPE, read=store.read, gone=gone))
        await asyncio.sleep(0.001)
        store.before_answer = lambda: (store.finish(), waiters.hear(["a"]))
        return await asyncio.wait_for(poll, 1)

    assert waiting(scenario).state is JobState.COMPLETED


def test_news_of_what_is_not_over_does_not_end_the_wait():
    async def scenario(waiters, store, gone):
        poll = asyncio.ensure_future(waiters.last_view("a", wait_s=30, scope=SCOPE, read=store.read, gone=gone))
        await asyncio.sleep(0.01)
        waiters.hear(["a"])
        await asyncio.sleep(0.01)
        was_waiting = not poll.done()
        store.finish()
        waiters.hear(["a"])
        return was_waiting, (await asyncio.wait_for(poll, 0.5)).state

    assert waiting(scenario) == (True, JobState.COMPLETED)


def test_lost_news_costs_a_second(monkeypatch):
    monkeypatch.setattr("api.live.waiters.READ_AGAIN_S", (0.02, 0.04, 0.08))

    async def scenario(waiters, store, gone):
        poll = asyncio.ensure_future(waiters.last_view("a", wait_s=30, scope=SCOPE, read=store.read, gone=gone))
        await asyncio.sleep(0.01)
        store.finish()
        return (await asyncio.wait_for(poll, 0.5)).state

    assert waiting(scenario) is JobState.COMPLETED


def test_the_state_is_read_once_more_at_the_end():
    async def scenario(waiters, store, gone):
        view = await waiters.last_view("a", wait_s=0.03, scope=SCOPE, read=store.read, gone=gone)
        return view.state, store.reads

    assert waiting(scenario) == (JobState.PENDING, 2)


def test_no_wait_reads_twice_at_most():
    async def scenario(waiters, store, gone):
        await waiters.last_view("a", wait_s=0, scope=SCOPE, read=store.read, gone=gone)
        return store.reads

    assert waiting(scenario) <= 2


def test_who_has_gone_is_forgotten_at_once():
    async def scenario(waiters, store, gone):
        poll = asyncio.ensure_future(waiters.last_view("a", wait_s=30, scope=SCOPE, read=store.read, gone=gone))
        await asyncio.sleep(0.01)
        gone.set_result(None)
        await asyncio.wait_for(poll, 0.5)
        return len(waiters), store.reads

    assert waiting(scenario) == (0, 1)


def test_an_error_of_the_store_leaves_no_waiter_behind():
    async def scenario(waiters, store, gone):
        async def read(task_id):
            raise JobNotFound("There is no task a.")

        with pytest.raises(JobNotFound):
            await waiters.last_view("a", wait_s=30, scope=SCOPE, read=read, gone=gone)
        return len(waiters)

    assert waiting(scenario) == 0


@pytest.mark.parametrize(
    ("end", "answers"), [(an_end(), True), (an_end(generation=0), False), (an_end(tenant_id="other"), False)]
)
def test_news_that_carry_the_end_are_the_answer_if_it_is_the_callers_and_of_this_generation(end, answers):
    async def scenario(waiters, store, gone):
        poll = asyncio.ensure_future(waiters.last_view("a", wait_s=0.1, scope=SCOPE, read=store.read, gone=gone))
        await asyncio.sleep(0.01)
        waiters.hear([end])
        return await poll, store.reads

    view, reads = waiting(scenario)

    assert (view is end.view) == answers
    assert (reads == 1) == answers


def test_a_task_that_was_sent_through_here_is_not_read_before_its_end_is_heard():
    async def scenario(waiters, store, gone):
        waiters.hear([])
        waiters.expect("a", "t")
        poll = asyncio.ensure_future(waiters.last_view("a", wait_s=30, scope=SCOPE, read=store.read, gone=gone))
        await asyncio.sleep(0.01)
        waiters.hear([an_end()])
        return (await asyncio.wait_for(poll, 0.5)).state, store.reads

    assert waiting(scenario) == (JobState.COMPLETED, 0)


def deaf(waiters):
    waiters.hear(None)


def told_before(waiters):
    waiters.hear(["a"])


@pytest.mark.parametrize(
    ("scope", "before", "wait_s"),
    [
        (Scope("other"), None, 30),
        (Scope("t", service_id="s"), None, 30),
        (SCOPE, deaf, 30),
        (SCOPE, told_before, 30),
        (SCOPE, None, 0),
    ],
)
def test_whoever_may_not_see_it_or_could_miss_its_end_reads_a_new_task_first(scope, before, wait_s):
    async def scenario(waiters, store, gone):
        waiters.hear([])
        waiters.expect("a", "t")
        if before:
            before(waiters)
        store.finish()
        return (await waiters.last_view("a", wait_s=wait_s, scope=scope, read=store.read, gone=gone)).state, store.reads

    assert waiting(scenario) == (JobState.COMPLETED, 1)


def test_lost_news_of_a_new_task_cost_a_second(monkeypatch):
    monkeypatch.setattr("api.live.waiters.READ_AGAIN_S", (0.02,))

    async def scenario(waiters, store, gone):
        waiters.hear([])
        waiters.expect("a", "t")
        store.finish()
        return (await waiters.last_view("a", wait_s=30, scope=SCOPE, read=store.read, gone=gone)).state, store.reads

    assert waiting(scenario) == (JobState.COMPLETED, 1)


def test_new_tasks_are_forgotten_after_a_while(monkeypatch):
    monkeypatch.setattr("api.live.waiters.NEW_S", 0.0)

    async def scenario(waiters, store, gone):
        waiters.hear([])
        for task_id in "abc":
            waiters.expect(task_id, "t")
        await waiters.last_view("a", wait_s=0.01, scope=SCOPE, read=store.read, gone=gone)
        return len(waiters._new), store.reads

    assert waiting(scenario) == (1, 2)


# --- over ASGI ---


@pytest.fixture
def task_id(core, service):
    spec = JobSpec(payload=b"", rows=1, bucket="")
    return submit.submit(core.jobs, by=ANYBODY, service_id=service.id, specs=[spec]).job_ids[0]


def polling(core, scenario):
    """Runs a scenario with a client of the live application and its `tell`."""

    async def run():
        told = asyncio.get_running_loop().create_future()

        async def listen(on_ids):
            told.set_result(on_ids)
            await asyncio.Event().wait()

        app = create_app(core, listen)
        transport = httpx.ASGITransport(app=app)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://localhost") as client,
        ):
            return await scenario(client, await told)

    return asyncio.run(run())


@pytest.mark.parametrize("base", [BASE, "/api/inference"])
def test_a_long_poll_answers_when_the_task_is_over(core, task_id, base):
    async def scenario(client, tell):
        poll = asyncio.ensure_future(client.get(f"{base}/tasks/{task_id}?wait=30"))
        await asyncio.sleep(0.05)
        core.jobs.store.complete(task_id)
        tell([task_id])
        return await asyncio.wait_for(poll, 1)

    response = polling(core, scenario)

    assert response.status_code == 200
    assert response.json()["result"] == {"y": [[1.0, 2.0]]}


def test_a_task_that_is_not_over_in_time_is_shown_as_it_is(core, task_id):
    async def scenario(client, tell):
        return await client.get(f"{BASE}/tasks/{task_id}?wait=0.05")

    response = polling(core, scenario)

    assert (response.status_code, response.json()["status"]) == (200, "pending")


def test_flask_and_live_show_the_same_body(core, client, task_id):
    core.jobs.store.complete(task_id)

    async def scenario(live, tell):
        return await live.get(f"{BASE}/tasks/{task_id}?wait=1")

    assert polling(core, scenario).content == client.get(f"{BASE}/tasks/{task_id}").data


def test_flask_and_live_show_where_a_task_stands(core, client, task_id):
    async def scenario(live, tell):
        return await live.get(f"{BASE}/tasks/{task_id}?wait=0.01")

    shown = polling(core, scenario)

    assert shown.json()["queue_position"] == 0
    assert shown.content == client.get(f"{BASE}/tasks/{task_id}").data


@pytest.mark.parametrize("query", ["wait=soon", "wait=-1", "wait=nan", "wait=", "wait=inf", "wiat=1", "wait=1&wait=2"])
def test_a_bad_wait_is_refused_alike(core, client, task_id, query):
    async def scenario(live, tell):
        return await live.get(f"{BASE}/tasks/{task_id}?{query}")

    response = polling(core, scenario)

    assert response.status_code == 422
    assert response.json() == client.get(f"{BASE}/tasks/{task_id}?{query}").json


@pytest.mark.parametrize("path", [f"{BASE}/tasks/nope?wait=1", f"{BASE}/tasks/{'0' * 32}?wait=1", "/nothing"])
def test_what_is_not_there_is_refused_alike(core, client, path):
    async def scenario(live, tell):
        return await live.get(path)

    response = polling(core, scenario)

    assert response.status_code == 404
    assert response.json() == client.get(path).json


def test_a_refused_method_is_told(core, task_id):
    async def scenario(live, tell):
        return await live.post(f"{BASE}/tasks/{task_id}?wait=1")

    response = polling(core, scenario)

    assert (response.status_code, response.json()["code"]) == (405, "method_not_allowed")


def test_waiting_is_counted(core, task_id):
    async def scenario(live, tell):
        poll = asyncio.ensure_future(live.get(f"{BASE}/tasks/{task_id}?wait=30"))
        await asyncio.sleep(0.05)
        count = (await live.get("/healthz")).json()["waiting"]
        poll.cancel()
        return count

    assert polling(core, scenario) == 1
