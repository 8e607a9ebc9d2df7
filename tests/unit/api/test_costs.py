"""Costs, prices and budgets over HTTP."""

import csv
import io
import time

import pytest

from inference.access import keys, tenants
from inference.access.model import ANYBODY, Role, Scope, Tenant
from inference.costs.model import Cost, CostGroup, Run
from inference.ids import DEFAULT_TENANT, new_id
from tests import fakes

BASE = "/api/v1/inference"
FIGURES = {"held_s": 100.0, "used_s": 25.0, "cpu_s": 100.0, "jobs": 3, "rows": 4, "money": 2.0, "used_money": 0.5}


def key(core, *, role=Role.ADMIN, tenant_id=DEFAULT_TENANT, is_system=False):
    made = keys.create(core.access, by=ANYBODY, name="k", role=role, scope=Scope(tenant_id), is_system=is_system)
    return {"Authorization": f"Bearer {made.text}"}


def test_costs_are_shown_with_what_was_idle_and_in_total(client, core):
    service_id = new_id()
    core.costs.store.costs = [Cost(group=service_id, name="digits", **FIGURES)]

    answer = client.get(f"{BASE}/costs?from=2026-11-01&to=2026-11-03")

    assert answer.status_code == 200
    assert answer.json == {
        "from": "2026-11-01", "to": "2026-11-03", "by": "service", "currency": "USD",
        "costs": [
            {
                "service_id": service_id, "name": "digits", "held_s": 100.0, "used_s": 25.0, "idle_share": 0.75,
                "cpu_s": 100.0, "jobs": 3, "rows": 4, "money": 2.0, "used_money": 0.5, "idle_money": 1.5,
            }
        ],
        "total": {"money": 2.0, "used_money": 0.5, "idle_money": 1.5},
    }  # fmt: skip
    assert core.costs.store.asked == [(None, 20_758, 20_760, CostGroup.SERVICE)]


@pytest.mark.parametrize(
    ("by", "group", "purchase", "shown"),
    [
        ("tenant", "acme", "", {"tenant_id": "acme"}),
        ("day", "20758", "", {"day": "2026-11-01"}),
        ("device", "NVIDIA L4", "spot", {"device_kind": "NVIDIA L4", "purchase": "spot"}),
    ],
)
def test_a_row_says_of_what_it_is(client, core, by, group, purchase, shown):
    core.costs.store.costs = [Cost(group=group, purchase=purchase, **{**FIGURES, "held_s": 0.0})]

    (row,) = client.get(f"{BASE}/costs?by={by}").json["costs"]

    assert {name: row[name] for name in row if name not in FIGURES and not name.startswith("idle")} == shown
    assert row["idle_share"] is None


def test_a_table_is_safe_to_open(client, core):
    core.costs.store.costs = [Cost(group="a" * 32, name="=cmd|' /C calc'!A0", **FIGURES)]

    answer = client.get(f"{BASE}/costs?format=csv")

    (row,) = csv.DictReader(io.StringIO(answer.text))
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert row["name"] == "'=cmd|' /C calc'!A0"
    assert (row["money"], row["currency"]) == ("2.0", "USD")


def test_tenants_see_their_own_costs_and_system_keys_those_of_all(client, core):
    own, of_system = key(core, role=Role.VIEWER), key(core, is_system=True)
    core.access.tenants.insert(Tenant(id="other", name="Other", created_at=0.0))

    answers = [
        client.get(f"{BASE}/costs{query}", headers=who)
        for who, query in ((own, ""), (own, "?tenant_id=other"), (of_system, ""), (of_system, "?tenant_id=other"))
    ]

    assert [answer.status_code for answer in answers] == [200, 404, 200, 200]
    assert [asked[0] for asked in core.costs.store.asked] == [DEFAULT_TENANT, None, "other"]


@pytest.mark.parametrize("path", ["costs", "budgets"])
def test_nothing_of_a_tenant_that_is_not_there_is_not_found(client, path):
    answer = client.get(f"{BASE}/{path}?tenant_id=nobody")

    assert (answer.status_code, answer.json["code"]) == (404, "tenant_not_found")


@pytest.mark.parametrize("path", ["costs", "usage"])
def test_a_range_that_ends_before_it_begins_is_refused(client, path):
    answer = client.get(f"/api/v1/inference/{path}?from=2026-11-20T00:00:00Z&to=2026-11-01T00:00:00Z")

    assert (answer.status_code, answer.get_json()["details"]["field"]) == (422, "to")


def test_prices_are_examples_until_they_are_set(client):
    before = client.get(f"{BASE}/prices").json
    wanted = {"prices": [{"device_kind": "NVIDIA A100", "per_hour": 2.5}, {"device_kind": "cpu", "per_hour": 0}]}

    after = client.put(f"{BASE}/prices", json=wanted).json

    assert before["currency"] == "USD"
    assert all(one["is_example"] and one["valid_from"] is None for one in before["prices"])
    assert [
        (one["device_kind"], one["purchase"], one["per_hour"]) for one in after["prices"] if not one["is_example"]
    ] == [("cpu", "on_demand", 0.0), ("nvidia a100", "on_demand", 2.5)]


@pytest.mark.parametrize(
    ("one", "field"),
    [
        ({"device_kind": "cpu"}, "prices.0.per_hour"),
        ({"device_kind": "cpu", "per_hour": -1}, "per_hour"),
        ({"device_kind": "cpu", "per_hour": "1"}, "prices.0.per_hour"),
        ({"device_kind": "  ", "per_hour": 1}, "device_kind"),
        ({"device_kind": "cpu", "per_hour": 1, "purchase": "gift"}, "prices.0.purchase"),
        ({"device_kind": "cpu", "per_hour": 1, "valid_from": "2020-01-01"}, "valid_from"),
        ({"device_kind": "cpu", "per_hour": 1, "valid_from": "1970-01-01"}, "valid_from"),
        ({"device_kind": "cpu", "per_hour": 1, "valid_from": "soon"}, "valid_from"),
    ],
)
def test_an_impossible_price_is_refused_and_none_is_set(client, core, one, field):
    answer = client.put(f"{BASE}/prices", json={"prices": [{"device_kind": "gpu", "per_hour": 1}, one]})

    assert answer.status_code == 422
    assert field.split(".")[-1] in str(answer.json["details"])
    assert core.costs.prices.rows == []


@pytest.mark.parametrize(
    ("one", "says"),
    [
        (
            {"device_kind": "l4", "per_hour": 1, "price": 1},
            "There is no field `prices.0.price` here; known: `device_kind`, `per_hour`, `purchase`, `valid_from`.",
        ),
        (1, "The field `prices.0` is wrong: It must be an object."),
        (
            {"device_kind": "l4", "per_hour": 1, "valid_from": "soon"},
            "`valid_from` must be an ISO 8601 time such as 2026-11-20T12:00:00Z.",
        ),
    ],
)
def test_a_refusal_names_the_field_and_what_may_stand_beside_it(client, one, says):
    answer = client.put(f"{BASE}/prices", json={"prices": [one]})

    assert (answer.status_code, answer.json["message"]) == (422, says)


def test_the_same_price_twice_is_refused(client):
    one = {"device_kind": "cpu", "per_hour": 1}

    answer = client.put(f"{BASE}/prices", json={"prices": [one, {**one, "device_kind": "CPU"}]})

    assert (answer.status_code, answer.json["message"]) == (422, "`cpu` (on_demand) stands twice; keep one.")


def test_only_holders_of_system_keys_set_prices(client, core):
    answer = client.put(f"{BASE}/prices", json={"prices": []}, headers=key(core))

    assert (answer.status_code, answer.json["code"]) == (403, "scope_too_narrow")


def test_a_budget_is_set_shown_and_deleted(client, core, service):
    core.costs.store.money = {(DEFAULT_TENANT, service.id): 12.5}

    made = client.put(f"{BASE}/budgets", json={"service_id": service.id, "period": "day", "soft": 10, "hard": 100})
    listed = client.get(f"{BASE}/budgets").json["budgets"]
    gone = client.delete(f"{BASE}/budgets/{made.json['budget_id']}")

    assert made.status_code == 200
    assert {name: made.json[name] for name in ("spent", "level", "of_system", "low_priority", "service_id")} == {
        "spent": 12.5, "level": "soft", "of_system": True, "low_priority": 4, "service_id": service.id,
    }  # fmt: skip
    assert listed == [made.json]
    assert (gone.status_code, client.get(f"{BASE}/budgets").json) == (204, {"budgets": []})


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 422, "invalid_field"),
        ({"hard": "10"}, 422, "invalid_field"),
        ({"hard": 10, "period": "year"}, 422, "invalid_field"),
        ({"hard": 10, "low_priority": True}, 422, "invalid_field"),
        ({"hard": 10, "service_id": "f" * 32}, 404, "service_not_found"),
        ({"hard": 10, "service_id": "no id"}, 404, "service_not_found"),
        ({"hard": 10, "tenant_id": "nobody"}, 404, "tenant_not_found"),
        ({"hard": 10, "limit": 1}, 422, "unknown_field"),
    ],
)
def test_an_impossible_budget_is_refused(client, core, body, status, code):
    answer = client.put(f"{BASE}/budgets", json=body)

    assert (answer.status_code, answer.json["code"]) == (status, code)
    assert core.costs.budgets.rows == {}


def test_a_tenants_admin_sets_its_own_budgets_beside_the_systems(client, core):
    tenants.create(core.access, tenant_id="acme")
    own, of_system = key(core, tenant_id="acme"), key(core, is_system=True)
    theirs = client.put(f"{BASE}/budgets", json={"tenant_id": "acme", "hard": 5}, headers=of_system).json

    mine = client.put(f"{BASE}/budgets", json={"hard": 50}, headers=own).json
    elsewhere = client.put(f"{BASE}/budgets", json={"hard": 50, "tenant_id": "default"}, headers=own)
    deleted = [client.delete(f"{BASE}/budgets/{one['budget_id']}", headers=own) for one in (theirs, mine)]

    assert (theirs["of_system"], mine["of_system"], theirs["tenant_id"], mine["tenant_id"]) == (
        True, False, "acme", "acme",
    )  # fmt: skip
    assert elsewhere.json["code"] == "tenant_not_found"
    assert [answer.status_code for answer in deleted] == [403, 204]


def test_a_used_up_budget_refuses_tasks_and_predictions_of_low_priority(client, core, service):
    client.put(f"{BASE}/budgets", json={"service_id": service.id, "period": "day", "hard": 0})
    other = fakes.add_service(core, model=fakes.add_model(core, name="other"))
    one = {"input_data": {"x": [[1, 2]]}}

    def send(to, path, body):
        return client.post(f"{BASE}/services/{to.id}/{path}", json=body).status_code

    assert send(service, "tasks", one) == 429
    assert send(service, "tasks", {**one, "priority": 5}) == 202
    assert send(service, "tasks/batch", {"input_data_list": [one["input_data"]]}) == 429
    assert send(service, "predict", one) == 429
    assert send(other, "tasks", one) == 202
    refused = client.post(f"{BASE}/services/{service.id}/tasks", json=one)
    assert (refused.json["code"], refused.json["details"]["of"]) == ("budget_exhausted", "service")
    assert 0 < int(refused.headers["Retry-After"]) <= 86_400


def test_what_was_accepted_before_is_answered_as_it_was(client, core, service):
    one, headers = {"input_data": {"x": [[1, 2]]}}, {"Idempotency-Key": "k"}
    first = client.post(f"{BASE}/services/{service.id}/tasks", json=one, headers=headers)

    client.put(f"{BASE}/budgets", json={"service_id": service.id, "hard": 0})
    core.jobs.spending._is_known, core.jobs.spending._due_at = False, 0.0  # as after some seconds
    refused = client.post(f"{BASE}/services/{service.id}/tasks", json=one)
    again = client.post(f"{BASE}/services/{service.id}/tasks", json=one, headers=headers)

    assert refused.status_code == 429
    assert (again.status_code, again.json) == (202, first.json)


def test_a_task_tells_its_cost_where_that_is_asked_for(client, core, service):
    task_id = client.post(f"{BASE}/services/{service.id}/tasks", json={"input_data": {"x": [[1, 2]]}}).json["task_id"]
    core.costs.store.runs_by_id[task_id] = [
        Run(share_s=3600.0, at=time.time(), device_kind="cpu", purchase="on_demand", units=2.0, cpus=2.0)
    ]

    plain, asked = (client.get(f"{BASE}/tasks/{task_id}{query}").json for query in ("?cost=false", "?cost=true"))
    refused = client.get(f"{BASE}/tasks/{task_id}?cost=yes")

    assert "cost" not in plain
    assert asked["cost"] == {"gpu_s": 0.0, "cpu_s": 7200.0, "money": 0.09, "currency": "USD"}
    assert refused.json["message"] == "The query parameter `cost` must be true or false."
