"""Every SQL statement that the API executes on a tenant's rows names the tenant, or stands here with its reason."""

import re
from typing import Any

from inference.store import tables
from tests.integration.isolation import sweep
from tests.integration.isolation.recorder import Recorder
from tests.integration.isolation.two_tenants import World

TENANTS_OWN = [table.name for table in tables.metadata.sorted_tables if "tenant_id" in table.c]
BESIDE = {
    "payloads": "job_id",
    "results": "job_id",
    "attempts": "job_id",
    "service_events": "service_id",
    "replicas": "service_id",
    "instances": "service_id",
    "series": "service_id",
    "result_cache": "service_id",
    "profiles": "model_id",
}
"""Rows without a tenant hang on one that has one: they are reached by its id, once it was found in the scope."""

EXPLAINED = {
    r"FROM api_keys WHERE api_keys.epoch > ": "every process knows all keys, to tell who asks",
    r"FROM api_keys WHERE (NOT )?api_keys.is_for_service": "whether there is any key, which closes the system",
    r"FROM jobs j LEFT JOIN results x .* WHERE j.id IN \(SELECT r.id": "views of tasks that this very call has ended",
    r"FROM jobs (INDEXED BY \w+ )?WHERE .* GROUP BY service_id, (state|priority)": "figures, each key its own services",
    r"count\(\*\).* FROM models WHERE models.sha256 = .* FROM uploads WHERE uploads.sha256": "whether content is used",
    r"sum\(models.size_bytes\)": "figures, as above",
    r"FROM cost_days (c )?WHERE day >= \S+ (AND day < \S+ UNION ALL|GROUP BY)": "costs, for keys of the system alone",
    r"SELECT id, name FROM services WHERE id (IN|= ANY)": "names beside those costs",
    r"FROM backups WHERE (1 = 1|true) ORDER BY": "backups of all tenants, for keys of the system alone",
    r"FROM budgets WHERE (1 = 1|true) ORDER BY": "budgets of all tenants, for the same keys",
    r"FROM services s WHERE state IN .* OR EXISTS \(SELECT 1 FROM replicas": "who holds the pool, for the same keys",
    r"SELECT services.id, services.tenant_id, services.name, services.state FROM services$": "figures, as above",
    r"FROM alerts WHERE alerts.active_key IS NOT NULL": "figures, as above",
    r"FROM replicas r JOIN services s .* WHERE r.observed IN": "figures of cost, as above",
    r"FROM audit (WHERE audit.seq > \S+ )?ORDER BY audit.seq": "the whole record, for keys of the system alone",
}
SELDOM = {r"FROM budgets WHERE budgets.level = ": "what is used up, as every process must know it; by a thread, mostly"}
SHOWN_WHOLE = {
    r"FROM results WHERE results.sha256 (=|IS NOT NULL)": "whether content is used; figures, as above",
    r"FROM replicas ORDER BY service_id": "figures, as above",
    r"SELECT at FROM series WHERE step_s = \S+ ORDER BY": "how far all series are rolled up, which tells of nobody",
}


def test_each_statement_of_the_api_names_the_tenant(world: World, recorder: Recorder) -> None:
    exercise(world, recorder)

    strange = [
        f"{operation}: {statement}"
        for statement, operation in plain(recorder).items()
        if any(uses(statement, table) for table in TENANTS_OWN)
        and not names_tenant(statement)
        and not explained(statement, EXPLAINED | SELDOM)
    ]

    assert len(recorder.seen) > 100
    assert "\n".join(strange) == ""
    assert {pattern for pattern in EXPLAINED if not any(re.search(pattern, one) for one in plain(recorder))} == set()


def test_rows_without_a_tenant_are_reached_by_what_they_hang_on(world: World, recorder: Recorder) -> None:
    exercise(world, recorder)

    strange = [
        f"{operation}: {statement}"
        for statement, operation in plain(recorder).items()
        for table, parent in BESIDE.items()
        if uses(statement, table)
        and not re.search(rf"(WHERE|ON|INTO) .*\b{parent}\b", statement)
        and not explained(statement, SHOWN_WHOLE)
    ]

    assert "\n".join(strange) == ""


def test_a_statement_without_a_tenant_would_be_found() -> None:
    found = [
        "SELECT services.tenant_id, services.id FROM services WHERE services.id = ?",
        "UPDATE jobs SET state = 'cancelled' WHERE id = ?",
        "DELETE FROM models WHERE models.id = ?",
    ]
    good = [
        "SELECT services.id FROM services WHERE services.id = ? AND services.tenant_id = ?",
        "INSERT INTO jobs (id, tenant_id) VALUES (?, ?)",
        "SELECT id FROM services WHERE id IN (?) AND tenant_id IN (?)",
    ]

    assert [names_tenant(statement) for statement in found] == [False] * 3
    assert [names_tenant(statement) for statement in good] == [True] * 3


def exercise(world: World, recorder: Recorder) -> None:
    """Each call once with ids of the caller's own and of somebody else; then what may destroy them."""
    if recorder.seen:
        return
    document: Any = world.client.get("/openapi.json").json
    ids = world.ids["ashtree"]["south"]
    for case in sweep.cases(document):
        for filled in (world.ids["oaktree"]["south"], ids):
            ask(world, recorder, world.keys["ashtree"]["tenant"], case, filled)
        if case.needed <= {"service_id", "task_id"}:
            ask(world, recorder, world.keys["ashtree"]["north"], case, world.ids["ashtree"]["north"])
    for operation, said in sweep.operations(document):
        if operation.startswith("GET ") and "{" not in operation and "x-required-role" in said:
            for key in (world.keys["ashtree"]["tenant"], world.keys["ashtree"]["north"], world.system_key):
                with recorder.watching(operation):
                    world.ask(key, "GET", operation.removeprefix("GET ")).get_data()
    destroy(world, recorder)


def ask(world: World, recorder: Recorder, key: str, case: sweep.Case, ids: dict[str, str]) -> None:
    with recorder.watching(case.operation):
        world.ask(key, **case.request(ids))


def destroy(world: World, recorder: Recorder) -> None:
    """A service that has never run, with tasks and a key, and a model: both go."""
    key, base = world.keys["ashtree"]["tenant"], sweep.BASE
    upload = world.ids["ashtree"]["north"]["model_upload_id"]
    body = {"name": "short-lived", "version": "1.0.0", "framework": "onnx", "model_path": f"upload:{upload}"}
    model = world.made(key, "POST", "/v1/models/register", body)["model_id"]
    wanted = {"model_id": model, "config": {"queue_while_stopped": True}}
    service = world.made(key, "POST", f"{base}/services", wanted)["service_id"]
    world.made(key, "POST", f"{base}/services/{service}/tasks", sweep.TASK)
    world.made(key, "POST", f"{base}/keys", {"name": "short-lived", "role": "viewer", "service_id": service})
    for path in (f"{base}/services/{service}", f"/v1/models/{model}"):
        with recorder.watching(f"DELETE {path}"):
            assert world.ask(key, "DELETE", path).status_code == 204


def plain(recorder: Recorder) -> dict[str, str]:
    return {" ".join(statement.split()): operation for statement, operation in recorder.seen.items()}


def uses(statement: str, table: str) -> bool:
    return re.search(rf'\b(FROM|INTO|UPDATE|JOIN) "?{table}\b', statement) is not None


def names_tenant(statement: str) -> bool:
    """In a condition; of a statement that inserts, among the columns."""
    if statement.startswith("INSERT"):
        return "tenant_id" in statement
    return re.search(r"\btenant_id\"? ?(=|IN\b)", statement) is not None


def explained(statement: str, reasons: dict[str, str]) -> bool:
    return any(re.search(pattern, statement) for pattern in reasons)
