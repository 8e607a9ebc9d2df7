"""`penstock costs`, `price` and `budget` as a person and a script meet them."""

import json

BASE = "/api/v1/inference"
COSTS = {
    "by": "device",
    "currency": "USD",
    "costs": [
        {"device_kind": "NVIDIA L4", "purchase": "spot", "held_s": 3600.0, "used_s": 900.0, "idle_share": 0.75,
         "jobs": 7, "money": 0.28, "used_money": 0.07, "idle_money": 0.21}
    ],
    "total": {"money": 0.28, "used_money": 0.07, "idle_money": 0.21},
}  # fmt: skip


def test_costs_are_a_table_with_its_total(penstock, server):
    server.answers["GET", f"{BASE}/costs"] = (200, COSTS)

    result = penstock("costs", "--by", "device", "--from", "2026-11-01", "--tenant", "acme")

    assert result.exit_code == 0
    assert "NVIDIA L4" in result.stdout
    assert "0.28 USD: 0.07 used, 0.21 idle." in result.stderr
    assert dict(server.requests[-1].url.params) == {"by": "device", "from": "2026-11-01", "tenant_id": "acme"}


def test_costs_go_into_a_file_as_csv(penstock, server):
    server.answers["GET", f"{BASE}/costs"] = (200, "service_id,money\n1,2\n")

    result = penstock("costs", "--csv")

    assert result.stdout == "service_id,money\n1,2\n"
    assert server.requests[-1].url.params["format"] == "csv"


def test_a_price_is_set(penstock, server):
    server.answers["PUT", f"{BASE}/prices"] = (200, {"currency": "USD", "prices": []})

    result = penstock("price", "set", "a100", "2.5", "--purchase", "reserved")

    assert result.exit_code == 0
    assert server.last_body == {"prices": [{"device_kind": "a100", "per_hour": 2.5, "purchase": "reserved"}]}


def test_prices_are_listed(penstock, server):
    one = {"device_kind": "cpu", "purchase": "spot", "per_hour": 0.0158, "valid_from": None, "is_example": True}
    server.answers["GET", f"{BASE}/prices"] = (200, {"currency": "USD", "prices": [one]})

    assert "0.0158" in penstock("price", "list").stdout


def test_a_budget_is_set_listed_and_deleted(penstock, server):
    service_id = "5" * 32
    server.answers["GET", f"{BASE}/services/{service_id}"] = (200, {"service_id": service_id})
    server.answers["PUT", f"{BASE}/budgets"] = (200, {"budget_id": "b" * 32, "level": "ok"})
    server.answers["GET", f"{BASE}/budgets"] = (200, {"budgets": [{"budget_id": "b" * 32, "level": "hard"}]})
    server.answers["DELETE", f"{BASE}/budgets/{'b' * 32}"] = (204, None)

    made = penstock("budget", "set", "--service", service_id, "--period", "day", "--hard", "10", "--low-priority", "2")
    body = server.last_body
    listed = penstock("budget", "list", "--json")
    deleted = penstock("budget", "delete", "b" * 32, "--json")

    assert (made.exit_code, body) == (
        0, {"service_id": service_id, "period": "day", "hard": 10.0, "low_priority": 2},
    )  # fmt: skip
    assert json.loads(listed.stdout)["budgets"][0]["level"] == "hard"
    assert json.loads(deleted.stdout) == {"budget_id": "b" * 32}
