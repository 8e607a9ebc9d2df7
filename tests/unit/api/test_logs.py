"""Log entries over HTTP: pages, refusals, exports, analysis."""

import time

import pytest

from inference.clock import iso
from inference.ids import new_id
from inference.logs.model import row

NOW = time.time()
SERVICE = "/api/v1/inference/services/{}/logs{}"
SYSTEM = "/api/v1/inference/logs{}"


@pytest.fixture
def put(core):
    """Logs so many seconds ago."""
    count = iter(range(1000))

    def put(event, ago=10.0, level="info", **fields):
        stamp = {"event": event, "level": level, "timestamp": iso(NOW - ago)}
        core.logs.store.put([row(stamp | fields, tick=next(count))])

    return put


def get(client, service, more="", **query):
    return client.get(SERVICE.format(service.id, more), query_string=query)


def test_entries_are_flat_and_paged_newest_first(client, service, put):
    for number in range(3):
        put(f"e{number}", 10 - number, service_id=service.id, job_id="a" * 32, reason="why", pid=number)
    put("of_another", service_id=new_id())

    first = get(client, service, limit=2).get_json()
    rest = get(client, service, limit=2, cursor=first["next"]).get_json()

    assert [one["event"] for one in first["logs"] + rest["logs"]] == ["e2", "e1", "e0"]
    assert "next" not in rest
    assert rest["logs"][0] | {"id": "", "timestamp": ""} == {
        "id": "", "timestamp": "", "level": "info", "event": "e0", "service_id": service.id, "task_id": "a" * 32,
        "reason": "why", "pid": 0,
    }  # fmt: skip


def test_filters_are_combined(client, service, put):
    put("job_failed", 10, "error", service_id=service.id, job_id="a" * 32, reason="the gradient exploded")
    put("job_failed", 9, "error", service_id=service.id, job_id="b" * 32, reason="the gradient vanished")
    put("job_failed", 8, "warning", service_id=service.id, job_id="a" * 32, reason="the gradient exploded")

    query = {"level": "error", "keyword": "gradient explo", "task_id": "a" * 32, "from": iso(NOW - 20), "to": iso(NOW)}

    assert len(get(client, service, **query).get_json()["logs"]) == 1
    assert get(client, service, **query | {"to": iso(NOW - 15)}).get_json() == {"logs": []}


@pytest.mark.parametrize("more", ["", "/export", "/analysis"])
@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"level": "loud"}, "level"),
        ({"level": ""}, "level"),
        ({"keyword": "-- '"}, "keyword"),
        ({"keyword": "x" * 201}, "keyword"),
        ({"from": "yesterday"}, "from"),
        ({"from": iso(NOW), "to": iso(NOW - 1)}, "from"),
        ({"wat": "1"}, "wat"),
    ],
)
def test_what_can_find_nothing_is_refused_with_the_parameter(client, service, more, query, field):
    answer = get(client, service, more, **query)

    assert answer.status_code == 422
    assert answer.get_json()["details"]["field"] == field


def test_the_far_future_and_the_far_past_hold_nothing(client, service, put):
    put("now", service_id=service.id)

    future = get(client, service, **{"from": "2099-01-01T00:00:00Z"})
    past = get(client, service, to="1971-01-01T00:00:00Z")

    assert (future.get_json()["logs"], past.get_json()["logs"]) == ([], [])


@pytest.mark.parametrize("name", ["task_id", "service_id"])
def test_what_can_be_no_id_is_refused(client, name):
    answer = client.get(SYSTEM.format(""), query_string={name: "AAA"})

    assert (answer.status_code, answer.get_json()["details"]["field"]) == (422, name)


@pytest.mark.parametrize("cursor", ["0", "x", "9" * 25, "-1"])
def test_a_cursor_that_was_never_given_is_refused(client, service, cursor):
    assert get(client, service, cursor=cursor).get_json()["details"]["field"] == "cursor"


@pytest.mark.parametrize("more", ["", "/export", "/analysis", "/tail"])
def test_a_service_that_is_not_there_has_no_logs(client, more):
    assert client.get(SERVICE.format(new_id(), more)).status_code == 404
    assert client.get(SERVICE.format("x", more)).status_code == 404


def test_the_system_sees_all_and_may_narrow_it(client, service, put):
    put("of_nobody")
    put("of_one", service_id=service.id)

    assert len(client.get(SYSTEM.format("")).get_json()["logs"]) == 2
    narrowed = client.get(SYSTEM.format(""), query_string={"service_id": service.id}).get_json()["logs"]
    assert [one["event"] for one in narrowed] == ["of_one"]


def test_a_table_runs_nothing_in_a_spreadsheet(client, service, put):
    put("=cmd|' /C calc'!A0", service_id=service.id, reason="+1", more="x")

    answer = get(client, service, "/export", format="csv")

    head, line = answer.text.splitlines()
    assert answer.mimetype == "text/csv"
    assert head.startswith("timestamp,level,event,")
    assert ",'=cmd|' /C calc'!A0," in line
    assert ",'+1," in line


def test_lines_are_exported_whole_whatever_their_number(client, service, put, core):
    for number in range(1200):
        core.logs.store.put(
            [row({"event": "e", "timestamp": iso(NOW - number), "service_id": service.id}, tick=number)]
        )

    answer = get(client, service, "/export")

    assert len(answer.text.splitlines()) == 1200


def test_the_analysis_tells_what_the_last_deployment_changed(client, service, put, core):
    put("job_failed", 500, "error", service_id=service.id, reason="old trouble")
    for ago in (5, 20, 30):
        put("job_failed", ago, "error", service_id=service.id, reason=f"new trouble {ago}")
    core.logs.store.deployed[service.id] = NOW - 100

    body = get(client, service, "/analysis").get_json()

    assert body["counts"] == {"error": 4}
    assert sorted((one["count"], one["is_new"]) for one in body["groups"]) == [(1, True), (3, True)]
    assert body["top_events"] == [{"event": "job_failed", "count": 4}]
    assert [one["count"] for one in body["deployment"]["appeared"]] == [3]
    assert body["deployment"]["at"] == iso(NOW - 100)
    assert set(body["deployment"]["after"]["per_hour"]) == {"error"}


def test_a_range_of_years_is_too_long_to_analyse(client, service):
    answer = get(client, service, "/analysis", **{"from": iso(NOW - 90 * 86_400)})

    assert (answer.status_code, answer.get_json()["details"]["field"]) == (422, "from")


def test_a_tail_that_is_reached_directly_holds_the_newest(client, service, put):
    put("here", service_id=service.id)

    assert b'"event":"here"' in get(client, service, "/tail").data
