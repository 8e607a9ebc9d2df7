"""Lists, exports, figures, idempotency keys, hot copies and long polls tell nobody of another tenant."""

import asyncio
from typing import Any

import httpx
import pytest

from api.live.app import create_app
from inference.ids import new_id
from tests.integration.isolation import sweep
from tests.integration.isolation.recorder import Recorder
from tests.integration.isolation.two_tenants import BASE, TENANTS, World

OWN = {
    f"{BASE}/services": "service_id",
    f"{BASE}/tasks": "task_id",
    f"{BASE}/keys": "key_id",
    "/v1/models": "model_id",
    "/v1/deployments": "deployment_id",
    "/metrics": "service_id",
}
"""What the lists that every tenant has something in must show to its owner."""


def lists(document: Any) -> list[str]:
    """Every path that is read as it stands, by somebody with a key."""
    return [
        operation.removeprefix("GET ")
        for operation, said in sweep.operations(document)
        if operation.startswith("GET ") and "{" not in operation and "x-required-role" in said
    ]


@pytest.mark.parametrize("reach", ["tenant", "north", "service in north"])
def test_what_lists_a_tenants_things_lists_nobody_elses(
    world: World, document: Any, recorder: Recorder, reach: str
) -> None:
    key = world.keys["ashtree"][reach]
    hidden = world.known_of("oaktree") | {"oaktree", world.system_key}
    hidden |= {text for tenant in TENANTS for text in world.keys[tenant].values()}
    if reach != "tenant":
        hidden |= world.known_of("ashtree", "south")

    told, lacking = [], []
    for path in lists(document):
        with recorder.watching(f"GET {path}"):
            answer = world.ask(key, "GET", path)
        told += [f"{path} tells {name}" for name in hidden if name in answer.text]
        own = world.ids["ashtree"]["north"].get(OWN.get(path, ""), "")
        if answer.status_code not in (200, 403) or (reach == "tenant" and own not in answer.text):
            lacking.append(f"{path}: {answer.status_code} {answer.text[:300]}")

    assert set(OWN) <= set(lists(document))
    assert told == []
    assert lacking == []


def test_lists_of_the_systems_own_tenant_show_no_other_tenant(world: World, document: Any) -> None:
    """A key of the system sees the whole installation where that is what is asked for, and nowhere else."""
    paths = set(lists(document)) - sweep.OF_THE_INSTALLATION
    hidden = world.known_of("oaktree") | world.known_of("ashtree")

    answers = {path: world.ask(world.system_key, "GET", path).text for path in paths}

    assert {path for path, text in answers.items() if any(name in text for name in hidden)} == set()


def test_the_same_idempotency_key_gives_each_tenant_its_own_answer(world: World) -> None:
    sent: dict[str, list[Any]] = {}
    for tenant in TENANTS * 2:
        path = f"{BASE}/services/{world.ids[tenant]['north']['service_id']}/tasks"
        key, headers = world.keys[tenant]["tenant"], {"Idempotency-Key": "the-same"}
        answer = world.ask(key, "POST", path, sweep.TASK, headers=headers)
        sent.setdefault(tenant, []).append((answer.status_code, answer.json["task_id"]))

    ash, oak = (sent[tenant] for tenant in TENANTS)
    assert [status for status, _ in (*ash, *oak)] == [202] * 4
    assert (ash[0], oak[0]) == (ash[1], oak[1])
    assert ash[0] != oak[0]


def test_a_hot_copy_is_served_to_its_tenant_alone(world: World) -> None:
    task = world.ids["oaktree"]["north"]["completed_task_id"]
    world.core.jobs.hot.put("oaktree", "", [world.core.jobs.store.views([task])[0][1]])

    answers = {
        name: world.ask(key, "GET", f"{BASE}/tasks/{task}").status_code
        for name, key in {
            "its tenant": world.keys["oaktree"]["tenant"],
            "its workspace": world.keys["oaktree"]["north"],
            "its service": world.keys["oaktree"]["service in north"],
            "another tenant": world.keys["ashtree"]["tenant"],
            "another workspace": world.keys["oaktree"]["south"],
            "another service": world.keys["oaktree"]["service in south"],
            "the system": world.system_key,
        }.items()
    }

    assert world.core.jobs.hot.get("oaktree", task) is not None
    assert world.core.jobs.hot.get("ashtree", task) is None
    assert [name for name, status in answers.items() if status == 200] == ["its tenant", "its workspace", "its service"]
    assert {status for name, status in answers.items() if not name.startswith("its")} == {404}


@pytest.mark.parametrize("path", ["tasks/{}?wait=0.2", "tasks/{}/events"])
@pytest.mark.parametrize("kind", ["task_id", "completed_task_id"])
def test_waiting_for_somebody_elses_task_is_as_for_an_unknown_one(world: World, path: str, kind: str) -> None:
    theirs, mine = (world.ids[tenant]["north"][kind] for tenant in ("oaktree", "ashtree"))
    ended, nobodys = world.ids["ashtree"]["north"]["completed_task_id"], new_id()

    async def wait(key: str, task: str) -> httpx.Response:
        async def listen(_: object) -> None:
            await asyncio.Event().wait()

        transport = httpx.ASGITransport(app=create_app(world.core, listen))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            headers = {"Authorization": f"Bearer {key}"}
            return await client.get(f"{BASE}/{path.format(task)}", headers=headers)

    def ask(reach: str, task: str) -> httpx.Response:
        return asyncio.run(wait(world.keys["ashtree"][reach], task))

    own = {reach: ask(reach, ended).status_code for reach in ("tenant", "north", "service in north")}
    refused = [ask("tenant", theirs), ask("south", mine), ask("service in south", mine)]
    unknown = ask("tenant", nobodys)

    assert set(own.values()) == {200}
    assert [answer.status_code for answer in (*refused, unknown)] == [404] * 4
    assert refused[0].text.replace(theirs, "ID") == unknown.text.replace(nobodys, "ID")
    assert {answer.text.replace(mine, "ID") for answer in refused[1:]} == {unknown.text.replace(nobodys, "ID")}


def test_a_name_that_another_tenant_uses_is_free(world: World) -> None:
    made: dict[str, list[int]] = {}
    for tenant in TENANTS:
        key, ids = world.keys[tenant]["tenant"], world.ids[tenant]["north"]
        wanted = {
            "/v1/models/register": {
                "name": "one-name",
                "version": "1.0.0",
                "framework": "onnx",
                "model_path": f"upload:{ids['model_upload_id']}",
            },
            f"{BASE}/services": {"name": "one name", "model_id": ids["model_id"]},
        }
        made[tenant] = [world.ask(key, "POST", path, body).status_code for path, body in wanted.items()]

    assert made == {tenant: [201, 201] for tenant in TENANTS}


def test_a_model_in_use_elsewhere_stays_and_its_user_is_not_named(world: World) -> None:
    keys, ids = world.keys["ashtree"], world.ids["ashtree"]["north"]
    wanted = {"name": "shared", "version": "1.0.0", "framework": "onnx"}
    upload = f"upload:{ids['model_upload_id']}"
    model = world.made(keys["tenant"], "POST", "/v1/models/register", wanted | {"model_path": upload})["model_id"]
    user = world.made(keys["south"], "POST", f"{BASE}/services", {"model_id": model})["service_id"]

    refused = {reach: world.ask(keys[reach], "DELETE", f"/v1/models/{model}") for reach in ("north", "south", "tenant")}

    assert {answer.status_code for answer in refused.values()} == {409}
    assert [reach for reach, answer in refused.items() if user in answer.text] == ["south", "tenant"]


def test_an_upload_does_not_tell_whether_somebody_has_the_same_content(world: World) -> None:
    known, fresh = b'{"x": [[9, 9, 9, 9]]}', b'{"x": [[8, 8, 8, 8]]}'
    world.made(world.keys["oaktree"]["tenant"], "POST", f"{BASE}/uploads", known)

    answers = [world.ask(world.keys["ashtree"]["tenant"], "POST", f"{BASE}/uploads", body) for body in (known, fresh)]

    assert [answer.status_code for answer in answers] == [201, 201]
    shown = ["created_at", "expires_at", "sha256", "size_bytes", "upload_id"]
    assert [sorted(answer.json) for answer in answers] == [shown] * 2
    assert answers[0].json["size_bytes"] == answers[1].json["size_bytes"]
    assert len({len(answer.data) for answer in answers}) == 1
