"""Every operation of the OpenAPI document that changes something leaves a record; and outsiders can verify them all."""

import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from api.app import create_app
from inference.access.model import AuditRecord
from inference.access.ports import AuditFilter
from inference.store import tables
from tests import fakes
from tests.integration.api_world import BASE, TASK, World

CANARY = "canary-5f2d"
DOCS = Path(__file__).parents[2] / "docs" / "audit.md"

Content = dict[str, Any]
Prepared = tuple[str, Content]
"""What stands in place of the id in the path, and the content of the call."""

NOT_RECORDED = {
    f"POST {BASE}/services/{{service_id}}/tasks": "the task's own row says when it came and by which key",
    f"POST {BASE}/services/{{service_id}}/tasks/batch": "the same, for each of them",
    f"POST {BASE}/services/{{service_id}}/predict": "nothing is kept of a prediction; with mode=async it is a task",
    "POST /v1/models/{name}/predict": "the same",
    f"POST {BASE}/alerts/rules/{{rule_id}}/test": "it changes nothing",
    f"POST {BASE}/services/{{service_id}}/compare": "the same",
    f"POST {BASE}/tasks/compare": "the same",
}


@pytest.fixture(scope="module")
def world(shared_valkey) -> Iterator[World]:
    with tempfile.TemporaryDirectory(prefix="penstock-world-", ignore_cleanup_errors=True) as name:
        made = World(Path(name), shared_valkey.url)
        yield made
        made.close()


def a_service(world: World) -> str:
    body = {"model_id": world.ids["model_id"], "name": world.next_name()}
    return world.ask("POST", f"{BASE}/services", body, expect=201)["service_id"]


def a_started_service(world: World) -> str:
    service_id = a_service(world)
    world.ask("POST", f"{BASE}/services/{service_id}/start")
    return service_id


def a_model(world: World) -> Content:
    return {
        "name": world.next_name(),
        "version": "1.0.0",
        "framework": "onnx",
        "model_path": str(world.model_file),
        "metadata": {"author": CANARY},
    }


def a_registered_model(world: World) -> str:
    return world.ask("POST", "/v1/models/register", a_model(world), expect=201)["model_id"]


def a_key(world: World) -> str:
    return world.ask("POST", f"{BASE}/keys", {"name": "for a while", "role": "viewer"}, expect=201)["key_id"]


def a_tenant(world: World) -> str:
    return world.ask("POST", f"{BASE}/tenants", {"tenant_id": world.next_name()}, expect=201)["tenant_id"]


def a_budget(world: World) -> str:
    return world.ask("PUT", f"{BASE}/budgets", {"period": "day", "hard": 1e6})["budget_id"]


def an_alert_rule(world: World) -> str:
    rule = {"name": world.next_name(), "metric": "queue_age", "threshold": 10}
    return world.ask("POST", f"{BASE}/alerts/rules", rule, expect=201)["rule_id"]


def a_silence(world: World) -> str:
    return world.ask("POST", f"{BASE}/alerts/silences", {"for_s": 60}, expect=201)["silence_id"]


def a_backup(world: World) -> str:
    return world.ask("POST", f"{BASE}/backups", {}, expect=201)["backup_id"]


def a_report(world: World) -> str:
    return world.ask("POST", f"{BASE}/reports", {}, expect=202)["report_id"]


def a_report_schedule(world: World) -> str:
    return world.ask("POST", f"{BASE}/report-schedules", {"every": "day"}, expect=201)["schedule_id"]


def an_upload(world: World) -> str:
    return world.call("POST", f"{BASE}/uploads", data=CANARY.encode()).json["upload_id"]


def a_waiting_task(world: World, **more: Any) -> str:
    body = {"input_data": TASK["input_data"], "metadata": {"of": CANARY}, **more}
    return world.ask("POST", f"{BASE}/services/{world.ids['service_id']}/tasks", body, expect=202)["task_id"]


def a_service_with_waiting_tasks(world: World) -> str:
    a_waiting_task(world)
    return world.ids["service_id"]


def a_cancelled_task(world: World, **more: Any) -> str:
    task_id = a_waiting_task(world, **more)
    world.ask("POST", f"{BASE}/tasks/{task_id}/cancel")
    return task_id


def a_task_with_a_webhook(world: World) -> str:
    return a_cancelled_task(world, callback_url=f"https://hooks.example.org/{CANARY}")


def on(make: Callable[[World], str], body: Content | None = None) -> Callable[[World], Prepared]:
    """The operation on a thing that is made for it."""
    return lambda world: (make(world), {} if body is None else {"json": body})


def with_body(make: Callable[[World], Content]) -> Callable[[World], Prepared]:
    return lambda world: ("", {"json": make(world)})


def the_service(world: World) -> str:
    return world.ids["service_id"]


def the_models_name(world: World) -> str:
    return world.ask("GET", f"/v1/models/{world.ids['model_id']}")["name"]


def as_a_task(make: Callable[[World], str]) -> Callable[[World], Prepared]:
    """A prediction that is a task: nobody works here who could answer one."""
    return lambda world: (make(world), {"json": TASK, "query_string": {"mode": "async"}})


PREPARED: dict[str, Callable[[World], Prepared]] = {
    f"POST {BASE}/services": with_body(lambda world: {"model_id": world.ids["model_id"], "name": world.next_name()}),
    f"PATCH {BASE}/services/{{service_id}}": on(a_service, {"config": {"max_batch": 16}}),
    f"DELETE {BASE}/services/{{service_id}}": on(a_service),
    f"POST {BASE}/services/{{service_id}}/start": on(a_service),
    f"POST {BASE}/services/{{service_id}}/stop": on(a_started_service),
    f"POST {BASE}/services/{{service_id}}/restart": on(a_started_service),
    f"POST {BASE}/services/{{service_id}}/scale": on(a_service, {"replicas": 2}),
    f"DELETE {BASE}/services/{{service_id}}/cache": on(a_service),
    f"POST {BASE}/services/{{service_id}}/tasks": on(the_service, TASK),
    f"POST {BASE}/services/{{service_id}}/tasks/batch": on(the_service, {"input_data_list": [TASK["input_data"]]}),
    f"POST {BASE}/services/{{service_id}}/predict": as_a_task(the_service),
    "POST /v1/models/{name}/predict": as_a_task(the_models_name),
    f"POST {BASE}/services/{{service_id}}/tasks/cancel": on(a_service_with_waiting_tasks, {"all": True}),
    f"POST {BASE}/tasks/compare": with_body(lambda world: {"task_ids": world.completed(2)}),
    f"POST {BASE}/services/{{service_id}}/compare": on(the_service, {"versions": ["1.0.0", "1.1.0"]}),
    f"POST {BASE}/tasks/{{task_id}}/cancel": on(a_waiting_task),
    f"POST {BASE}/tasks/{{task_id}}/retry": on(a_cancelled_task),
    f"POST {BASE}/tasks/{{task_id}}/requeue": on(a_cancelled_task),
    f"PATCH {BASE}/tasks/{{task_id}}": on(a_waiting_task, {"priority": 7}),
    f"POST {BASE}/tasks/{{task_id}}/webhooks/resend": on(a_task_with_a_webhook),
    f"POST {BASE}/webhooks/secret/rotate": with_body(lambda world: {}),
    f"POST {BASE}/keys": with_body(lambda world: {"name": "new", "role": "viewer"}),
    f"PATCH {BASE}/keys/{{key_id}}": on(a_key, {"name": "renamed"}),
    f"POST {BASE}/keys/{{key_id}}/rotate": on(a_key),
    f"POST {BASE}/keys/{{key_id}}/revoke": on(a_key),
    f"POST {BASE}/tenants": with_body(lambda world: {"tenant_id": world.next_name()}),
    f"PATCH {BASE}/tenants/{{tenant_id}}": on(a_tenant, {"name": "renamed"}),
    f"DELETE {BASE}/tenants/{{tenant_id}}": on(a_tenant),
    f"PUT {BASE}/prices": with_body(lambda world: {"prices": [{"device_kind": "cpu", "per_hour": 0.05}]}),
    f"POST {BASE}/alerts/rules": with_body(
        lambda world: {"name": world.next_name(), "metric": "latency", "threshold": 1}
    ),
    f"PATCH {BASE}/alerts/rules/{{rule_id}}": on(an_alert_rule, {"threshold": 20}),
    f"DELETE {BASE}/alerts/rules/{{rule_id}}": on(an_alert_rule),
    f"POST {BASE}/alerts/rules/{{rule_id}}/test": on(an_alert_rule),
    f"POST {BASE}/alerts/silences": with_body(lambda _: {"for_s": 60}),
    f"DELETE {BASE}/alerts/silences/{{silence_id}}": on(a_silence),
    f"PUT {BASE}/budgets": with_body(lambda world: {"service_id": world.ids["service_id"], "hard": 1e6}),
    f"DELETE {BASE}/budgets/{{budget_id}}": on(a_budget),
    f"POST {BASE}/backups": with_body(lambda _: {}),
    f"POST {BASE}/backups/{{backup_id}}/restore": lambda world: (
        a_backup(world),
        {"query_string": {"dry_run": "false"}},
    ),
    f"DELETE {BASE}/backups/{{backup_id}}": on(a_backup),
    f"POST {BASE}/reports": with_body(lambda _: {}),
    f"POST {BASE}/services/{{service_id}}/reports": on(the_service, {}),
    f"DELETE {BASE}/reports/{{report_id}}": on(a_report),
    f"POST {BASE}/report-schedules": with_body(lambda _: {"every": "week"}),
    f"POST {BASE}/services/{{service_id}}/report-schedules": on(the_service, {"every": "week"}),
    f"DELETE {BASE}/report-schedules/{{schedule_id}}": on(a_report_schedule),
    f"DELETE {BASE}/uploads/{{upload_id}}": on(an_upload),
    f"POST {BASE}/uploads": lambda world: ("", {"data": CANARY.encode()}),
    "POST /v1/models/register": with_body(a_model),
    "POST /v1/models/{model_id}/deprecate": on(a_registered_model),
    "DELETE /v1/models/{model_id}": on(a_registered_model),
    "POST /v1/deployments": with_body(lambda world: {"model_id": world.ids["model_id"], "environment": "test"}),
}


def operations() -> list[str]:
    """Those of the document that may change something, by method and path."""
    core = fakes.make_core()
    paths = create_app(core).test_client().get("/openapi.json").json["paths"]
    core.close()
    return sorted(
        f"{method.upper()} {path}"
        for path, known in paths.items()
        for method in known
        if method in ("post", "put", "patch", "delete")
    )


def since(world: World, seq: int) -> list[AuditRecord]:
    return list(world.core.access.audit.find(AuditFilter(tenant_id=None, after_seq=seq, limit=1000)))


@pytest.mark.parametrize("operation", operations())
def test_an_operation_that_changes_something_leaves_a_record_that_names_it(world: World, operation: str):
    assert operation in PREPARED, f"Say in PREPARED how {operation} is called, so that it changes something."
    thing_id, content = PREPARED[operation](world)
    method, path = re.sub(r"{\w+}", thing_id, operation).split(" ")
    before, _ = world.core.access.audit.head()

    answer = world.call(method, path, **content)

    assert answer.status_code < 300, answer.text
    found = since(world, before)
    if operation in NOT_RECORDED:
        assert found == []
        return
    assert {one.operation for one in found} == {f"{method} {path}"}
    assert {(one.actor_kind, one.actor_name, one.address) for one in found} == {("key", "the test", "127.0.0.1")}
    assert {one.actor_id for one in found} == {world.headers["Authorization"].split("_")[1]}
    named = {one.object_id for one in found} | {one.after.get("service_id") for one in found}
    assert thing_id == "" or thing_id in named


def test_what_is_listed_as_not_recorded_is_there_with_a_reason():
    assert set(operations()) >= set(NOT_RECORDED)
    assert all(NOT_RECORDED.values())


@pytest.mark.parametrize("verb", ["start", "deprecate", "revoke", "cancel"])
def test_what_changes_nothing_leaves_no_record(world: World, verb: str):
    path = {
        "start": lambda: f"{BASE}/services/{a_started_service(world)}/start",
        "deprecate": lambda: f"/v1/models/{a_registered_model(world)}/deprecate",
        "revoke": lambda: f"{BASE}/keys/{a_key(world)}/revoke",
        "cancel": lambda: f"{BASE}/tasks/{a_cancelled_task(world)}/cancel",
    }[verb]()
    world.ask("POST", path)
    before, _ = world.core.access.audit.head()

    world.ask("POST", path)

    assert since(world, before) == []


def test_a_refused_call_leaves_no_record(world: World):
    service_id = a_started_service(world)
    before, _ = world.core.access.audit.head()

    refused = [
        world.client.post(f"{BASE}/services/{service_id}/stop").status_code,
        world.call("DELETE", f"{BASE}/services/{service_id}").status_code,
        world.call("PATCH", f"{BASE}/services/{service_id}", json={"config": {"colour": 1}}).status_code,
    ]

    assert refused == [401, 409, 422]
    assert since(world, before) == []


def test_no_record_holds_a_key_a_digest_a_payload_or_what_was_written_freely(world: World):
    made = world.ask("POST", f"{BASE}/keys", {"name": "new", "role": "viewer"}, expect=201)
    again = world.ask("POST", f"{BASE}/keys/{made['key_id']}/rotate", {"overlap_s": 60})
    secret = world.ask("POST", f"{BASE}/webhooks/secret/rotate", {})["secrets"][0]
    a_registered_model(world)
    a_task_with_a_webhook(world)
    world.call("POST", f"{BASE}/uploads", data=CANARY.encode())

    with world.database.read() as connection:
        written = str(connection.execute(sa.select(tables.audit)).all())
        kept = connection.execute(sa.select(tables.api_keys.c.digest, tables.api_keys.c.previous_digest)).all()

    assert made["key_id"] in written
    shown = [made["key"], again["key"], world.headers["Authorization"].removeprefix("Bearer ")]
    for text in (*shown, *(key.split("_")[2] for key in shown), secret, CANARY, str(world.model_file)):
        assert text not in written
    for digest in (bytes(one) for row in kept for one in row if one is not None):
        assert digest.hex() not in written
        assert repr(digest)[2:-1] not in written


@pytest.fixture
def program(tmp_path: Path) -> Callable[[str], str]:
    """The program that docs/audit.md shows, on an export: what it says."""
    (text,) = re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL)
    (tmp_path / "verify.py").write_text(text)

    def run(exported: str) -> str:
        (tmp_path / "audit.jsonl").write_text(exported, encoding="utf-8")
        command = [sys.executable, "-I", tmp_path / "verify.py", tmp_path / "audit.jsonl"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        return (done.stdout + done.stderr).strip()

    return run


def test_the_documented_program_verifies_an_export_and_finds_what_was_tampered_with(world: World, program):
    odd = {"name": '北京, naïve "quoted" \\ </script>', "role": "viewer"}
    world.ask("POST", f"{BASE}/keys", odd, expect=201)
    exported = world.call("GET", f"{BASE}/audit/export").text
    lines = exported.splitlines(keepends=True)
    verified = world.ask("GET", f"{BASE}/audit/verify")

    assert verified["is_sound"]
    assert program(exported) == f"{len(lines)} records are sound; the head is {verified['head']}"
    assert program("".join([*lines[:2], *lines[3:]])) == "record 3 is missing"
    assert program("".join([*lines[:2], lines[2].replace("the test", "nobody"), *lines[3:]])) == "record 3 was changed"
