"""Thousands of lines through the whole system: what is good runs once, what is bad is told, all of it is downloaded."""

import contextlib
import json

import pytest

from tests.conftest import KINDS, own_database
from tests.system import BASE, System

COUNT = 10_000
BAD = {1: b"{oops\n", 4_567: b'{"input_data": {"x": [[1, 2, 3]]}}\n', 9_999: b'{"input_data": {}}\n'}
CODES = ["malformed_json", "invalid_tensor", "invalid_tensor"]
LINES = {"Content-Type": "application/x-ndjson"}


@pytest.fixture(params=KINDS)
def system(request, tmp_path):
    with contextlib.ExitStack() as opened:
        settings = {}
        if request.param == "postgresql":
            settings["DATABASE_URL"] = opened.enter_context(own_database(request.getfixturevalue("postgres_url")))
        running = System(tmp_path, **settings).start()
        opened.callback(running.stop)
        yield running


def line(number):
    if number in BAD:
        return BAD[number]
    metadata = b', "metadata": {"line": %d}' % number if number % 100 == 0 else b""
    return b'{"input_data": {"x": [[%d, 1, 2, 3]]}, "priority": %d%s}\n' % (number, number % 3, metadata)


def test_ten_thousand_lines_with_bad_ones_among_them_run_once_each_and_are_downloaded(system):
    service_id = system.run("double")
    path, content = f"{BASE}/services/{service_id}", [line(number) for number in range(COUNT)]
    sent, refused, at = [], [], 0

    while at < COUNT:  # behind each bad line again
        answer = system.http.post(f"{path}/tasks/batch", content=iter(content[at:]), headers=LINES)
        told = answer.json()
        if answer.status_code == 202:
            sent += told["task_ids"]
            break
        refused.append(told)
        assert "task_ids" in told["details"], told
        sent += told["details"]["task_ids"]
        at += told["details"]["line"]
    ended = system.until_done(service_id, timeout_s=60)
    first = system.http.get(f"{path}/results", params={"limit": 2_500}).text.splitlines()
    behind = json.loads(first[-1])["task_id"]
    rest = system.http.get(f"{path}/results", params={"after": behind}).text.splitlines()

    good = [number for number in range(COUNT) if number not in BAD]
    results = [json.loads(text) for text in first + rest]
    assert ended == {"completed": len(good)}
    assert [one["code"] for one in refused] == CODES
    assert [one["task_id"] for one in results] == sent
    assert [one["result"] for one in results] == [{"y": [[2.0 * number, 2.0, 4.0, 6.0]]} for number in good]
    assert [one["metadata"] for one in results] == [None if n % 100 else {"line": n} for n in good]
