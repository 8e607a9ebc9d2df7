"""The commands as a person and a script meet them."""

import json

import pytest

from inference.ids import new_id

BASE = "/api/v1/inference"
SERVICE = new_id()
MODEL = new_id()
JOB = new_id()


def test_help_names_every_command_a_person_expects(penstock):
    shown = penstock("--help").output

    for name in (
        "up",
        "demo",
        "api",
        "worker",
        "node",
        "beat",
        "migrate",
        "model",
        "service",
        "job",
        "status",
        "doctor",
    ):
        assert f"\n  {name} " in shown


def test_version_is_printed(penstock):
    assert penstock("--version").output.startswith("penstock 0.")


def test_json_prints_exactly_the_answer_of_the_server(penstock, server):
    server.answers["GET", f"{BASE}/services"] = (200, {"services": [{"service_id": SERVICE, "name": "digits"}]})

    result = penstock("service", "list", "--json")

    assert result.exit_code == 0
    assert json.loads(result.stdout) == {"services": [{"service_id": SERVICE, "name": "digits"}]}


def test_people_get_a_table_with_whole_ids(penstock, server):
    row = {"service_id": SERVICE, "name": "digits", "status": "running", "replicas": 1, "replicas_ready": 1}
    server.answers["GET", f"{BASE}/services"] = (200, {"services": [row]})

    result = penstock("service", "list")

    assert SERVICE in result.stdout
    assert "running" in result.stdout


def test_an_empty_list_says_what_to_do(penstock, server):
    server.answers["GET", "/v1/models"] = (200, {"models": []})

    assert "penstock model register" in penstock("model", "list").stdout


def test_a_refusal_ends_with_1_and_says_how_to_go_on(penstock, server):
    server.answers["GET", f"{BASE}/services/{SERVICE}"] = (
        404,
        {"code": "service_not_found", "message": "There is no such service.", "details": {}},
    )

    result = penstock("service", "show", SERVICE)

    assert result.exit_code == 1
    assert result.stdout == ""
    assert "There is no such service. (service_not_found)" in result.stderr
    assert "penstock service list" in result.stderr


def test_a_list_of_details_is_told_line_by_line(penstock, server):
    rows = [{"name": "one", "reason": "It is gone."}, {"name": "two", "reason": "It is old."}]
    server.answers["GET", f"{BASE}/services/{SERVICE}"] = (
        422,
        {"code": "restore_refused", "message": "Two are refused.", "details": {"refused": rows}},
    )

    result = penstock("service", "show", SERVICE)

    assert "  refused: one, It is gone.\n  refused: two, It is old.\n" in result.stderr


def test_a_refusal_under_json_is_still_one_object(penstock, server):
    server.is_away = True

    result = penstock("model", "list", "--json", "--url", "http://penstock.test")

    assert result.exit_code == 1
    assert json.loads(result.stdout)["code"] == "no_answer"


@pytest.mark.parametrize(
    "arguments",
    [
        ("job", "submit", SERVICE),
        ("job", "submit", SERVICE, "--input", "{}", "--batch", "x"),
        ("job", "submit", SERVICE, "--input", "{}", "--ids", "x"),
        ("job", "submit", SERVICE, "--input", "{not json"),
        ("job", "submit", SERVICE, "--input", "/does/not/exist.json"),
        ("job", "submit", SERVICE, "--input", "{}", "--priority", "10"),
        ("model", "register", "/does/not/exist.onnx", "--name", "m", "--version", "1.0.0"),
        ("service", "scale", SERVICE, "-1"),
        ("test",),
        ("bench", "jobs"),
    ],
)
def test_wrong_usage_ends_with_2_and_asks_nobody(penstock, server, arguments):
    result = penstock(*arguments)

    assert result.exit_code == 2
    assert server.requests == []


def test_a_bare_input_is_wrapped_and_options_are_added(penstock, server):
    server.answers["POST", f"{BASE}/services/{SERVICE}/tasks"] = (202, {"task_id": JOB, "status": "pending"})

    result = penstock("job", "submit", SERVICE, "--input", '{"x": [[1.0]]}', "--priority", "7", "--timeout", "3")

    assert result.exit_code == 0
    assert server.last_body == {"input_data": {"x": [[1.0]]}, "priority": 7, "timeout_s": 3.0}


def test_a_whole_body_goes_out_as_it_is(penstock, server):
    server.answers["POST", f"{BASE}/services/{SERVICE}/tasks"] = (202, {"task_id": JOB})
    body = {"input_data": {"x": [[1.0]]}, "priority": 2, "metadata": {"order": 7}}

    penstock("job", "submit", SERVICE, "--input", "-", stdin=json.dumps(body))

    assert server.last_body == body


def test_a_batch_is_streamed_from_a_file_with_bare_inputs_wrapped(penstock, server, tmp_path):
    server.answers["POST", f"{BASE}/services/{SERVICE}/tasks/batch"] = (202, {"task_ids": ["a", "b"]})
    (tmp_path / "inputs.jsonl").write_text('{"x": [[1]]}\n\n{"input_data": {"x": [[2]]}}\n')

    result = penstock("job", "submit", SERVICE, "--batch", str(tmp_path / "inputs.jsonl"), "--priority", "4")

    assert result.exit_code == 0
    lines = [json.loads(line) for line in server.requests[-1].content.splitlines()]
    assert lines == [{"input_data": {"x": [[1]]}}, {"input_data": {"x": [[2]]}}]
    assert server.requests[-1].url.params["priority"] == "4"


def test_submit_with_wait_asks_until_the_job_is_over(penstock, server):
    server.answers["POST", f"{BASE}/services/{SERVICE}/tasks"] = (202, {"task_id": JOB})
    server.answers["GET", f"{BASE}/tasks/{JOB}"] = [
        (200, {"task_id": JOB, "status": "running"}),
        (200, {"task_id": JOB, "status": "completed", "result": {"y": [2.0]}}),
    ]

    result = penstock("job", "submit", SERVICE, "--input", '{"x": [1.0]}', "--wait", "--json")

    assert result.exit_code == 0
    assert json.loads(result.stdout)["result"] == {"y": [2.0]}


@pytest.mark.parametrize("status", ["failed", "dead", "cancelled", "expired"])
def test_waiting_for_a_job_that_did_not_complete_ends_with_1(penstock, server, status):
    server.answers["GET", f"{BASE}/tasks/{JOB}"] = (200, {"task_id": JOB, "status": status})

    assert penstock("job", "wait", JOB).exit_code == 1


def test_waiting_gives_up_in_time(penstock, server):
    server.answers["GET", f"{BASE}/tasks/{JOB}"] = (200, {"task_id": JOB, "status": "running"})

    result = penstock("job", "wait", JOB, "--timeout", "0", "--json")

    assert result.exit_code == 1
    assert json.loads(result.stdout)["status"] == "running"


def test_a_service_is_found_by_its_name(penstock, server):
    server.answers["GET", f"{BASE}/services"] = (200, {"services": [{"service_id": SERVICE, "name": "digits"}]})
    server.answers["POST", f"{BASE}/services/{SERVICE}/stop"] = (200, {"service_id": SERVICE, "status": "stopping"})

    assert penstock("service", "stop", "digits").exit_code == 0
    assert penstock("service", "stop", "letters").exit_code == 1


def test_a_model_is_found_by_name_and_version(penstock, server):
    rows = [
        {"model_id": new_id(), "name": "digits", "version": "2.0.0"},
        {"model_id": MODEL, "name": "digits", "version": "1.0.0"},
    ]
    server.answers["GET", "/v1/models"] = (200, {"models": rows})
    server.answers["POST", f"/v1/models/{MODEL}/deprecate"] = (200, {"model_id": MODEL, "status": "deprecated"})

    assert penstock("model", "deprecate", "digits@1.0.0").exit_code == 0


def test_create_builds_the_config_and_waits_until_it_runs(penstock, server):
    server.answers["POST", f"{BASE}/services"] = (201, {"service_id": SERVICE, "status": "pending"})
    server.answers["POST", f"{BASE}/services/{SERVICE}/start"] = (200, {"status": "deploying"})
    server.answers["GET", f"{BASE}/services/{SERVICE}"] = (200, {"status": "running", "replicas_ready": 1})

    result = penstock(
        "service", "create", MODEL, "--replicas", "2", "--memory", "1Gi", "--config", '{"instances": 3}', "--start"
    )

    assert result.exit_code == 0
    assert json.loads(server.requests[0].content) == {
        "model_id": MODEL,
        "config": {"instances": 3, "replicas": 2, "resource_requirements": {"memory": "1Gi"}},
    }


def test_a_service_that_cannot_start_is_told_with_its_reason(penstock, server):
    server.answers["POST", f"{BASE}/services/{SERVICE}/start"] = (200, {"status": "deploying"})
    server.answers["GET", f"{BASE}/services/{SERVICE}"] = (
        200,
        {"status": "error", "reason": "the file is truncated", "suggested_action": "register it again"},
    )

    result = penstock("service", "start", SERVICE, "--wait")

    assert result.exit_code == 1
    assert "the file is truncated" in result.stderr
    assert "register it again" in result.stderr


def test_a_model_elsewhere_is_uploaded_first(penstock, server, tmp_path):
    (tmp_path / "m.onnx").write_bytes(b"onnx")
    server.answers["POST", "/v1/uploads"] = (201, {"upload_id": "u1"})
    server.answers["POST", "/v1/models/register"] = (201, {"model_id": MODEL, "status": "registered"})

    result = penstock("model", "register", str(tmp_path / "m.onnx"), "--name", "m", "--version", "1.0.0", "--upload")

    assert result.exit_code == 0
    assert server.requests[0].content == b"onnx"
    assert server.last_body["model_path"] == "upload:u1"
    assert "allow_code" not in server.last_body


def test_leave_for_code_is_asked_for_by_name(penstock, server, tmp_path):
    (tmp_path / "m.pt").write_bytes(b"code")
    server.answers["POST", "/v1/models/register"] = (201, {"model_id": MODEL, "status": "registered"})

    penstock("model", "register", str(tmp_path / "m.pt"), "--name", "m", "--version", "1.0.0", "--allow-code")

    assert server.last_body["allow_code"] is True


def test_a_service_is_shown_with_its_replicas_and_its_batch_curve(penstock, server):
    curve = [{"rows": 1, "median_ms": 2.0, "p99_ms": 3.0}, {"rows": 8, "median_ms": 4.0, "p99_ms": 5.0}]
    server.answers["GET", f"{BASE}/services/{SERVICE}"] = (
        200,
        {
            "service_id": SERVICE,
            "status": "running",
            "profile": {"max_batch": 8, "provider": "cpu", "curve": curve},
            "replica_list": [{"replica_id": JOB, "status": "ready", "device": "cpu", "restarts": 2}],
        },
    )

    shown = penstock("service", "show", SERVICE).stdout

    assert "8, chosen on cpu from 1: 2.00 ms, 8: 4.00 ms" in shown
    assert JOB in shown


def test_stop_can_wait_until_it_is_done(penstock, server):
    server.answers["POST", f"{BASE}/services/{SERVICE}/stop"] = (200, {"status": "stopping"})
    server.answers["GET", f"{BASE}/services/{SERVICE}"] = [
        (200, {"status": "stopping"}),
        (200, {"status": "stopped"}),
    ]

    result = penstock("service", "stop", SERVICE, "--wait", "--json")

    assert json.loads(result.stdout) == {"status": "stopped"}


CALLS = [
    (("service", "scale", SERVICE, "2"), "POST", f"{BASE}/services/{SERVICE}/scale", {"replicas": 2}),
    (
        ("service", "scale", SERVICE, "2", "--instances", "3"),
        "POST",
        f"{BASE}/services/{SERVICE}/scale",
        {"replicas": 2, "instances": 3},
    ),
    (
        ("service", "update", SERVICE, "--config", '{"max_batch": 8}'),
        "PATCH",
        f"{BASE}/services/{SERVICE}",
        {"config": {"max_batch": 8}},
    ),
    (("service", "update", SERVICE, "--model", MODEL), "PATCH", f"{BASE}/services/{SERVICE}", {"model_id": MODEL}),
    (("service", "restart", SERVICE), "POST", f"{BASE}/services/{SERVICE}/restart", None),
    (("service", "delete", SERVICE), "DELETE", f"{BASE}/services/{SERVICE}", None),
    (("service", "history", SERVICE), "GET", f"{BASE}/services/{SERVICE}/history", None),
    (("model", "show", MODEL), "GET", f"/v1/models/{MODEL}", None),
    (("model", "delete", MODEL), "DELETE", f"/v1/models/{MODEL}", None),
    (("job", "get", JOB), "GET", f"{BASE}/tasks/{JOB}", None),
    (("job", "cancel", JOB), "POST", f"{BASE}/tasks/{JOB}/cancel", None),
    (("job", "retry", JOB), "POST", f"{BASE}/tasks/{JOB}/retry", None),
    (("job", "requeue", JOB), "POST", f"{BASE}/tasks/{JOB}/requeue", None),
    (("job", "prioritise", JOB, "7"), "PATCH", f"{BASE}/tasks/{JOB}", {"priority": 7}),
    (
        ("job", "cancel-many", SERVICE, "--priority", "3", "--status", "pending"),
        "POST",
        f"{BASE}/services/{SERVICE}/tasks/cancel",
        {"filter": {"priority": 3, "status": "pending"}},
    ),
    (("job", "cancel-many", SERVICE, "--all"), "POST", f"{BASE}/services/{SERVICE}/tasks/cancel", {"all": True}),
    (("job", "attempts", JOB), "GET", f"{BASE}/tasks/{JOB}/attempts", None),
    (("job", "list", "--service", SERVICE), "GET", f"{BASE}/tasks", None),
]


@pytest.mark.parametrize("options", [(), ("--all", "--priority", "3")])
def test_many_jobs_are_cancelled_only_when_it_is_clear_which(penstock, server, options):
    result = penstock("job", "cancel-many", SERVICE, *options)

    assert result.exit_code == 2
    assert server.requests == []


@pytest.mark.parametrize(("arguments", "method", "path", "body"), CALLS)
def test_a_command_is_one_call(penstock, server, arguments, method, path, body):
    server.answers[method, path] = (200, {"status": "ok", "events": [], "tasks": []})

    assert penstock(*arguments).exit_code == 0

    assert [(request.method, request.url.path) for request in server.requests] == [(method, path)]
    assert json.loads(server.requests[0].content or "null") == body


def test_a_longer_list_says_how_to_go_on(penstock, server):
    server.answers["GET", f"{BASE}/tasks"] = (200, {"tasks": [{"task_id": JOB}], "next": JOB})

    assert f"--cursor {JOB}" in penstock("job", "list", "--limit", "1").stderr


def test_down_without_a_system_says_so(penstock):
    result = penstock("down", "--json")

    assert (result.exit_code, json.loads(result.stdout)["status"]) == (0, "not_running")
