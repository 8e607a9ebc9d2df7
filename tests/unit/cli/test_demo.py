"""The demo without a system: what it sends, how it counts, what it shows."""

import json
from dataclasses import replace

import httpx
import pytest

from api.cli import demo_digits, demo_load, demo_report
from api.cli.client import Client
from api.cli.demo_digits import Picture
from api.cli.failure import CallFailed
from inference.clock import iso

BASE = "/api/v1/inference"


def answered(*, label=3, predicted=3, created=100.0, latency=0.01, batch_size=4, is_batch=True):
    task = {
        "task_id": "t",
        "status": "completed",
        "result": {"label": [predicted]},
        "created_at": iso(created),
        "completed_at": iso(created + latency),
        "latency": latency,
        "batch_size": batch_size,
    }
    return demo_load.Answered(
        picture=Picture(pixels=[[0, 8], [16, 0]], label=label), is_batch=is_batch, priority=5, task=task
    )


@pytest.mark.parametrize("count", [1, 10, 97, 450])
def test_every_picture_is_sent_once_some_alone_some_in_batches(count):
    parcels = demo_load.plan(count)

    assert sorted(place for parcel in parcels for place in parcel.places) == list(range(count))
    if count > 10:
        assert {parcel.is_batch for parcel in parcels} == {True, False}
        assert len({parcel.priority for parcel in parcels}) == 10


def test_figures_come_from_the_times_of_the_server():
    answers = [answered(created=100.0 + i / 10, latency=0.05, batch_size=1 + i % 3) for i in range(10)]
    answers[0] = replace(answers[0], picture=Picture(pixels=[[1]], label=9))

    shown = demo_report.figures(answers, model="digits 1.0.0", setup_s=1.5)

    assert shown["accuracy"] == 0.9
    assert shown["jobs"] == 10
    assert shown["jobs_per_s"] == pytest.approx(10 / 0.95, abs=0.1)
    assert (shown["p50_ms"], shown["p95_ms"]) == (50.0, 50.0)
    assert shown["max_batch"] == 3
    assert shown["batch_sizes"] == {"1": 4, "2": 3, "3": 3}


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [
        ([5.0], 0.95, 5.0),
        ([1.0, 2.0, 3.0, 4.0], 0.5, 2.0),
        (list(range(1, 101)), 0.95, 95),
        ([3.0, 1.0, 2.0], 1.0, 3.0),
    ],
)
def test_percentiles_are_nearest_rank(values, share, expected):
    assert demo_report.percentile(values, share) == expected


def test_a_picture_is_drawn_as_bright_as_it_is():
    assert demo_report.ascii_picture([[0, 16], [8, 0]]) == "  @@\n==  "


def test_wrong_predictions_are_in_the_sample():
    answers = [answered() for _ in range(40)] + [answered(predicted=8)]

    shown = demo_report.sample(answers)

    assert len(shown) == demo_report.SAMPLE
    assert shown[-1].predicted == 8


def test_the_tables_are_drawn(capsys):
    answers = [answered(), answered(predicted=8, is_batch=False)]

    demo_report.draw(answers, demo_report.figures(answers, model="m", setup_s=1.0))
    demo_report.draw_end({"exit_code": 0})
    demo_report.draw_end({"urls": {"docs": "http://x/docs"}, "pid": 7, "data_dir": "/d"})

    shown = capsys.readouterr().out
    assert "50.0% of 2 images" in shown
    assert "wrong" in shown
    assert "penstock down --data-dir /d" in shown


def test_the_shipped_digits_are_pictures_with_labels():
    digits = demo_digits.load()

    assert len(digits.pictures) >= 300
    assert {picture.label for picture in digits.pictures} == set(range(10))
    assert digits.registration["model_path"].endswith("model.onnx")
    json.dumps(digits.pictures[0].input_data)


def test_a_missing_example_folder_is_told_in_a_sentence(tmp_path):
    with pytest.raises(CallFailed, match=r"run \./penstock demo in a checkout"):
        demo_digits.load(tmp_path)


def fake_server(request: httpx.Request) -> httpx.Response:
    """Accepts everything; task ids carry the label that will be answered."""
    if request.method == "GET":
        task_id = request.url.path.rpartition("/")[2]
        status = "failed" if task_id == "t9" else "completed"
        return httpx.Response(200, json={"task_id": task_id, "status": status, "result": {"label": [int(task_id[1:])]}})
    body = json.loads(request.content)
    if request.url.path.endswith("/batch"):
        return httpx.Response(202, json={"task_ids": [f"t{x['image'][0][0][0]}" for x in body["input_data_list"]]})
    return httpx.Response(202, json={"task_id": f"t{body['input_data']['image'][0][0][0]}"})


def run_load(pictures):
    counts = {"submitted": 0, "answered": 0}

    def count(name):
        def add(number):
            counts[name] += number

        return add

    with Client("http://penstock.test", transport=httpx.MockTransport(fake_server)) as client:
        answers = demo_load.run(client, "s", pictures, on_submitted=count("submitted"), on_answered=count("answered"))
    return answers, counts


def test_every_answer_is_read_by_its_own_id():
    pictures = [Picture(pixels=[[place % 9]], label=place % 9) for place in range(100)]

    answers, counts = run_load(pictures)

    assert [answer.predicted for answer in answers] == [place % 9 for place in range(100)]
    assert counts == {"submitted": 100, "answered": 100}


def test_a_job_that_does_not_complete_ends_the_demo():
    with pytest.raises(CallFailed, match="Job t9 is failed"):
        run_load([Picture(pixels=[[9]], label=9)])
