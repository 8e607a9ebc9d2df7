"""`penstock job submit --batch --ids` and `penstock job results`: streams in and out of files."""

import json

from api.cli.client import BASE

SERVICE = "a" * 32
PATH = f"{BASE}/services/{SERVICE}"
ERROR = '{"error":{"code":"store_unavailable","message":"The database is away.","details":{}}}\n'


def result_line(number):
    return json.dumps({"task_id": f"{number:032x}", "status": "completed"}, separators=(",", ":")) + "\n"


def test_ids_of_a_batch_go_into_a_file_a_line_each(penstock, server, tmp_path):
    server.answers["POST", f"{PATH}/tasks/batch"] = (202, '{"task_id":"a"}\n{"task_id":"b"}\n{"count":2}\n')

    result = penstock("job", "submit", SERVICE, "--batch", "-", "--ids", str(tmp_path / "ids"), "--json", stdin="{}")

    assert (result.exit_code, json.loads(result.stdout)) == (0, {"jobs": 2})
    assert (tmp_path / "ids").read_text() == "a\nb\n"
    assert server.requests[-1].headers["accept"] == "application/x-ndjson"


def test_a_bad_line_is_told_and_the_ids_before_it_are_kept(penstock, server, tmp_path):
    server.answers["POST", f"{PATH}/tasks/batch"] = (202, '{"task_id":"a"}\n' + ERROR)

    result = penstock("job", "submit", SERVICE, "--batch", "-", "--ids", str(tmp_path / "ids"), stdin="{}")

    assert result.exit_code == 1
    assert "The database is away. (store_unavailable)" in result.stderr
    assert (tmp_path / "ids").read_text() == "a\n"


def test_results_go_to_stdout_or_into_a_file_with_the_filters_that_were_given(penstock, server, tmp_path):
    text = "".join(map(result_line, range(3)))
    server.answers["GET", f"{PATH}/results"] = (200, text)

    shown = penstock("job", "results", SERVICE, "--status", "completed", "--after", "f" * 32)
    penstock("job", "results", SERVICE, "-o", str(tmp_path / "out"))

    assert (shown.exit_code, shown.stdout) == (0, text)
    assert (tmp_path / "out").read_text() == text
    assert dict(server.requests[0].url.params) == {"status": "completed", "after": "f" * 32}


def test_results_that_end_early_say_where_to_go_on(penstock, server, tmp_path):
    server.answers["GET", f"{PATH}/results"] = (200, result_line(1) + result_line(2) + ERROR)

    result = penstock("job", "results", SERVICE, "-o", str(tmp_path / "out"))

    assert result.exit_code == 1
    assert "The database is away." in result.stderr
    assert f"--after {2:032x}" in result.stderr
    assert (tmp_path / "out").read_text() == result_line(1) + result_line(2)


def test_an_export_that_is_not_whole_is_told(penstock, server, tmp_path):
    row = "a,b,completed,0,,,,,,,,,,,,,,\r\n"
    server.answers["GET", f"{PATH}/results/export"] = (200, row)

    whole = penstock("job", "export", SERVICE, "-o", str(tmp_path / "out.csv"), "--error", "engine_failed")
    server.answers["GET", f"{PATH}/results/export"] = (200, row + ",,incomplete,,,,,,,,,,,,store_unavailable,x,,\r\n")
    cut = penstock("job", "export", SERVICE, "-o", str(tmp_path / "out.csv"))

    assert (whole.exit_code, cut.exit_code) == (0, 1)
    assert "not whole" in cut.stderr
    assert dict(server.requests[0].url.params) == {"format": "csv", "error_code": "engine_failed"}
