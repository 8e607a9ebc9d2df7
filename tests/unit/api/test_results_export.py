"""Results as a file: whole, safe to open, and plainly unfinished where it could not be finished."""

import csv
import io
import json
from datetime import datetime

import pytest

from api import exported, parquet
from api.v1 import results
from inference.errors import StoreUnavailable
from inference.jobs.model import JobState
from tests import fakes
from tests.parquet import in_parquet
from tests.unit.api.test_results import add

BASE = "/api/v1/inference"
KINDS = {"csv": "text/csv", "json": "application/json", "jsonl": "application/x-ndjson"}


def read(client, service, query):
    response = client.get(f"{BASE}/services/{service.id}/results/export?{query}")
    assert response.status_code == 200, response.json
    return response


def rows(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_a_table_has_a_heading_and_one_row_a_task(client, core, service, monkeypatch):
    monkeypatch.setattr(results, "PAGE", 3)
    done = add(core, service, 7)
    failed = add(core, service, 1, JobState.FAILED)
    add(core, service, 1, JobState.RUNNING)
    core.jobs.store.change(done[0], metadata_json='{"name":"a, \\"b\\"\\n"}')

    told = rows(read(client, service, "format=csv").text)

    first, last = ({row["task_id"]: row for row in told}[job_id] for job_id in (done[0], *failed))
    assert [row["task_id"] for row in told] == sorted([*done, *failed])
    assert json.loads(first["metadata"]) == {"name": 'a, "b"\n'}
    assert json.loads(first["result"]) == {"y": [[1.0]]}
    assert (first["latency"], first["error_code"]) == ("1.0", "")
    assert (last["status"], last["result"], last["error_code"]) == ("failed", "", "engine_failed")


@pytest.mark.parametrize("begin", ["=", "+", "-", "@", "\t", "\r"])
def test_no_cell_is_a_formula(client, core, service, begin):
    (job_id,) = add(core, service, 1, JobState.FAILED)
    core.jobs.store.change(job_id, error_message=f"{begin}cmd|' /C calc'!A0", worker=f"{begin}1", model_version=begin)

    text = read(client, service, "format=csv").text
    (told,) = list(csv.DictReader(io.StringIO(text, newline="")))

    assert told["error_message"] == f"'{begin}cmd|' /C calc'!A0"
    assert (told["worker"], told["model_version"]) == (f"'{begin}1", f"'{begin}")


@pytest.mark.parametrize("count", [0, 1, 7])
def test_every_format_says_the_same(client, core, service, monkeypatch, count):
    monkeypatch.setattr(results, "PAGE", 3)
    ids = add(core, service, count)

    table, array, lines = (read(client, service, f"format={name}") for name in KINDS)

    assert [told.mimetype for told in (table, array, lines)] == list(KINDS.values())
    assert [told.headers["Content-Disposition"].rpartition(".")[2] for told in (table, array, lines)] == [
        'csv"', 'json"', 'jsonl"',
    ]  # fmt: skip
    assert json.loads(array.text) == [json.loads(line) for line in lines.text.splitlines()]
    assert [row["task_id"] for row in rows(table.text)] == [one["task_id"] for one in json.loads(array.text)] == ids


def test_an_export_is_filtered_as_lists_are(client, core, service):
    add(core, service, 2)
    failed = add(core, service, 1, JobState.FAILED)
    add(core, fakes.add_service(core, model=fakes.add_model(core, name="other")), 1)

    told = json.loads(read(client, service, "format=json&error_code=engine_failed").text)

    assert [one["task_id"] for one in told] == failed
    assert json.loads(read(client, service, "format=json&model_version=9").text) == []


@pytest.mark.parametrize("name", ["orc", "xlsx", "CSV"])
def test_a_format_that_nobody_writes_is_refused_in_one_sentence(client, service, name):
    response = client.get(f"{BASE}/services/{service.id}/results/export?format={name}")

    assert (response.status_code, response.json["code"]) == (422, "invalid_field")
    assert "csv, json, jsonl, parquet" in response.json["message"]


@pytest.mark.parametrize("count", [0, 1, 7])
def test_parquet_has_the_columns_of_the_table_with_their_types(client, core, service, monkeypatch, count):
    monkeypatch.setattr(results, "PAGE", 3)
    monkeypatch.setattr(parquet, "GROUP_ROWS", 2)
    add(core, service, count)
    failed = add(core, service, 1, JobState.FAILED)
    core.jobs.store.change(failed[0], metadata_json='{"雪":1}', worker="=1")

    response = read(client, service, "format=parquet")
    told = in_parquet(response.data)
    table = rows(read(client, service, "format=csv").text)

    assert response.headers["Content-Disposition"].endswith('.parquet"')
    assert list(told[0]) == list(table[0]) == list(exported.COLUMNS)
    for one, row in zip(told, table, strict=True):
        assert one["created_at"] == datetime.fromisoformat(row["created_at"])
        assert (one["task_id"], one["status"], str(one["priority"])) == (row["task_id"], row["status"], row["priority"])
        assert (one["result"] or "", one["error_code"] or "") == (row["result"], row["error_code"])
    bad = next(one for one in told if one["task_id"] == failed[0])
    assert (bad["metadata"], bad["worker"], bad["result"]) == ('{"雪":1}', "=1", None)


def test_a_file_that_breaks_off_can_be_taken_for_whole_in_no_format(client, core, service, monkeypatch):
    monkeypatch.setattr(results, "PAGE", 3)
    ids = add(core, service, 10)
    page = core.bulk.page

    def dying(*asked, after, limit):
        if after is not None:
            raise StoreUnavailable("The database is away.", part="sql", retry_after_s=1)
        return page(*asked, after=after, limit=limit)

    core.bulk.page = dying
    table, array, lines = (read(client, service, f"format={name}").text for name in KINDS)
    broken = read(client, service, "format=parquet").data

    assert [row["task_id"] for row in rows(table)] == [*ids[:3], ""]
    assert (rows(table)[-1]["status"], rows(table)[-1]["error_code"]) == ("incomplete", "store_unavailable")
    assert json.loads(lines.splitlines()[-1])["error"]["code"] == "store_unavailable"
    with pytest.raises(json.JSONDecodeError):
        json.loads(array)
    assert json.loads(array + "]")[-1]["error"]["code"] == "store_unavailable"
    assert json.loads(broken.splitlines()[-1])["error"]["code"] == "store_unavailable"
    assert broken.startswith(parquet.MAGIC)
    assert not broken.endswith(parquet.MAGIC)  # with which each whole file ends, and no reader does without
