"""Limits as a client meets them: 429 with Retry-After and what was exceeded; usage and what is left."""

import time

import pytest

from inference.access import keys
from inference.access.model import ANYBODY, Limits, Role, Scope
from inference.access.ports import UsageGroup, Used
from inference.access.quotas import Quotas
from inference.errors import BacklogFull
from inference.ids import DEFAULT_TENANT
from inference.settings import AccessSettings

BASE = "/api/v1/inference"


def key(core, *, role=Role.SUBMITTER, service_id=None, **limits):
    """Headers with a fresh key that has these limits."""
    made = keys.create(
        core.access,
        by=ANYBODY,
        name="k",
        role=role,
        scope=Scope(DEFAULT_TENANT, service_id=service_id),
        limits=Limits(**limits),
    )
    return {"Authorization": f"Bearer {made.text}"}


def test_requests_over_the_limit_answer_429_with_what_was_exceeded(client, core):
    headers = key(core, requests_per_s=0.4)

    first, second = (client.get(f"{BASE}/services", headers=headers) for _ in range(2))

    assert (first.status_code, second.status_code) == (200, 429)
    assert second.json["code"] == "rate_limited"
    assert (second.json["details"]["of"], second.json["details"]["limit_per_s"]) == ("key", 0.4)
    assert second.headers["Retry-After"] == "3"


def test_a_call_that_is_denied_counts_too(client, core):
    headers = key(core, role=Role.VIEWER, requests_per_s=0.01)

    statuses = [client.post(f"{BASE}/services", json={}, headers=headers).status_code for _ in range(2)]

    assert statuses == [403, 429]


def test_a_full_backlog_says_whose_it_is(client, core, service, monkeypatch):
    def admit(by, *, jobs, payload_bytes):
        raise BacklogFull("5 tasks of this key are waiting already.", of="key", waiting=5, limit=5, retry_after_s=5)

    monkeypatch.setattr(core.jobs.admission, "admit", admit)

    answer = client.post(f"{BASE}/services/{service.id}/tasks", json={"input_data": {"x": [[1, 2]]}})

    assert (answer.status_code, answer.json["code"], answer.headers["Retry-After"]) == (429, "backlog_full", "5")
    assert answer.json["details"]["of"] == "key"


@pytest.fixture
def with_quotas(core):
    """The core's registry counts against quotas."""
    object.__setattr__(core.registry, "quotas", Quotas(core.access.usage, AccessSettings()))
    return core


def test_an_upload_over_the_quota_answers_429_and_leaves_nothing(client, with_quotas):
    core = with_quotas
    core.access.usage.bytes = 100
    core.access.tenants.change(DEFAULT_TENANT, limits=Limits(bytes_stored=100))

    answer = client.post(f"{BASE}/uploads", data=b"1" * 20, headers=key(core))

    assert (answer.status_code, answer.json["code"]) == (429, "quota_exceeded")
    assert answer.json["details"]["quota"] == "bytes_stored"
    assert core.registry.uploads.rows == {}


def test_usage_is_shown_by_group(client, core):
    core.access.usage.rows = [
        Used(group="a" * 12, jobs=3, rows=4, engine_s=1.5),
        Used(group="", jobs=1, rows=1, engine_s=0.25),
    ]

    answer = client.get(f"{BASE}/usage?from=2026-11-01&to=2026-11-03T12:00:00Z&group_by=key")

    assert answer.json == {
        "from": "2026-11-01",
        "to": "2026-11-04",
        "group_by": "key",
        "usage": [
            {"key_id": "a" * 12, "jobs": 3, "rows": 4, "gpu_seconds": 1.5},
            {"key_id": None, "jobs": 1, "rows": 1, "gpu_seconds": 0.25},
        ],
    }
    assert core.access.usage.asked == (Scope(DEFAULT_TENANT), 20_758, 20_761, UsageGroup.KEY)


def test_usage_may_be_asked_for_of_all_times(client, core):
    answer = client.get(f"{BASE}/usage?from=0001-01-01T00:00:00%2B14:00&to=9999-12-31T23:59:59-12:00")

    assert (answer.json["from"], answer.json["to"]) == ("0001-01-01", "9999-12-31")


def test_usage_is_by_day_of_the_last_thirty_without_more_words(client, core):
    today = int(time.time() // 86_400)
    core.access.usage.rows = [Used(group=str(today), jobs=3, rows=4, engine_s=1.5)]

    answer = client.get(f"{BASE}/usage")

    assert core.access.usage.asked[1:] == (today - 30, today + 1, UsageGroup.DAY)
    assert answer.json["usage"][0]["day"] == time.strftime("%Y-%m-%d", time.gmtime(today * 86_400))


@pytest.mark.parametrize("query", ["from=yesterday", "to=2026-13-01", "group_by=tenant", "tenant_id=other"])
def test_usage_refuses_what_it_does_not_understand(client, query):
    assert client.get(f"{BASE}/usage?{query}").status_code == 422


def test_usage_is_of_the_whole_tenant_and_not_for_a_key_of_one_service(client, core, service):
    answer = client.get(f"{BASE}/usage", headers=key(core, service_id=service.id))

    assert (answer.status_code, answer.json["code"]) == (403, "scope_too_narrow")


def test_me_shows_what_is_used_of_the_limits(client, core, monkeypatch):
    used = {"key": {"jobs_waiting": 3}, "tenant": {"bytes_stored": 10, "gpu_seconds_per_day": 1.5}}
    monkeypatch.setattr(core.jobs.admission, "used", lambda by: used)

    answer = client.get(f"{BASE}/me", headers=key(core, jobs_waiting=5))

    assert (answer.json["limits"]["jobs_waiting"], answer.json["used"]) == (5, {"jobs_waiting": 3})
    assert answer.json["tenant_used"] == {"bytes_stored": 10, "gpu_seconds_per_day": 1.5}
