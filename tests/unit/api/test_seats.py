"""How many requests of one caller may wait at a time."""

import asyncio

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.live.seats import Seats


def knock(scenario, *, most):
    """Runs a scenario with a client of an endpoint that waits until the gate is open."""

    async def run():
        gate = asyncio.Event()

        async def wait(_: Request) -> Response:
            await gate.wait()
            return Response(b"{}")

        seats = Seats(Starlette(routes=[Route("/wait", wait)]), most=most, behind_front=True)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=seats), base_url="http://localhost") as client:
            return await scenario(client, gate, seats)

    return asyncio.run(run())


def ask(client, key=None, address="192.0.2.1"):
    headers = {"X-Real-IP": address} | ({"X-API-Key": key} if key else {})
    return asyncio.ensure_future(client.get("/wait", headers=headers))


async def settled():
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.mark.parametrize("key", ["a", None])
def test_one_more_than_the_limit_is_refused_until_one_has_left(key):
    async def scenario(client, gate, seats):
        held = [ask(client, key) for _ in range(3)]
        await settled()
        refused = await ask(client, key)
        gate.set()
        answers = await asyncio.gather(*held)
        return refused, [answer.status_code for answer in answers], (await ask(client, key)).status_code, seats._taken

    refused, answers, later, taken = knock(scenario, most=3)

    assert (refused.status_code, refused.json()["code"]) == (429, "too_many_waiting")
    assert refused.headers["retry-after"] == "5"
    assert (answers, later) == ([200] * 3, 200)
    assert not taken


def test_callers_do_not_take_each_others_seats():
    async def scenario(client, gate, _):
        held = [ask(client, "a"), ask(client, "b"), ask(client), ask(client, address="192.0.2.2")]
        await settled()
        gate.set()
        return [answer.status_code for answer in await asyncio.gather(*held)]

    assert knock(scenario, most=1) == [200] * 4


def test_a_limit_of_zero_is_none():
    async def scenario(client, gate, seats):
        held = [ask(client) for _ in range(50)]
        gate.set()
        await asyncio.gather(*held)
        return seats._taken

    assert not knock(scenario, most=0)
