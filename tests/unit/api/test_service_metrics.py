"""The figures of a service by time: points, anomalies, and the gauges that are the same figures."""

import orjson
import pytest

from api.schemas.service_metrics import A_POINT, POINT_METRICS, PointShown
from inference.clock import iso
from inference.telemetry import metrics, status
from inference.telemetry.sample import METRICS, Look, Published, Sample, Work
from inference.telemetry.series import second

NOW = 1_700_000_400.0
URL = "/api/v1/inference/services/{}/{}"


@pytest.fixture(autouse=True)
def clock(core):
    core.telemetry.flow.now = NOW


def put(core, service_id, at, *latencies, failed=0, **look):
    work = Work(completed=len(latencies), failed=failed, latency_s=sum(latencies))
    work.errors.update({"timed_out": failed} if failed else {})
    work.latencies.add(latencies)
    core.telemetry.series.put([second(service_id, at, work, Look(**look), submitted=len(latencies))])


def get(client, service, what="metrics", **query):
    return client.get(URL.format(service.id, what), query_string=query)


def test_points_hold_what_happened_in_each_step(client, core, service):
    put(core, service.id, int(NOW) - 20, 0.1, 0.3, failed=1, queue_length=5, cpu=0.5, instances=1)
    put(core, service.id, int(NOW) - 9, 0.2)

    answer = get(client, service, **{"from": iso(NOW - 20), "step": 10}).get_json()

    first, later = answer["points"]
    assert (answer["service_id"], answer["step_s"]) == (service.id, 10)
    assert set(first) == set(A_POINT) == set(PointShown().fields) == {*POINT_METRICS, "at", "queue_most"}
    assert (first["at"], first["throughput"], first["errors"]) == (iso(NOW - 20), 0.2, 0.1)
    assert (first["latency"], first["error_codes"], first["queue_most"]) == (0.2, {"timed_out": 1}, 5)
    assert first["latency_p99"] == pytest.approx(0.3, rel=0.01)
    assert first["cpu"] == 0.5
    assert later["throughput"] == 0.1


def test_a_range_in_which_nothing_happened_is_empty(client, service):
    answer = get(client, service)

    assert (answer.status_code, answer.get_json()["points"]) == (200, [])


@pytest.mark.parametrize("what", ["metrics", "anomalies"])
@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"from": "yesterday"}, "from"),
        ({"from": iso(NOW), "to": iso(NOW - 1)}, "from"),
        ({"from": iso(NOW - 400_000)}, None),
        ({"steps": "1"}, "steps"),
    ],
)
def test_questions_that_make_no_sense_are_refused_by_the_parameter(client, service, what, query, field):
    answer = get(client, service, what, **query)

    if field is None:
        assert answer.status_code == (200 if what == "metrics" else 422)
    else:
        assert (answer.status_code, answer.get_json()["details"]["field"]) == (422, field)


@pytest.mark.parametrize("step", [0, 90, 100_000, "x"])
def test_a_step_that_cannot_be_is_refused(client, service, step):
    answer = get(client, service, step=step)

    assert (answer.status_code, answer.get_json()["details"]["field"]) == (422, "step")


def test_too_many_points_are_refused_with_the_limit(client, service):
    answer = get(client, service, **{"from": iso(NOW - 86_400), "step": 1})

    assert answer.status_code == 422
    assert "4000" in answer.get_json()["message"]


@pytest.mark.parametrize("what", ["metrics", "anomalies"])
def test_a_service_that_is_not_there_has_no_figures(client, service, what):
    answer = client.get(URL.format("0" * 32, what))

    assert (answer.status_code, answer.get_json()["code"]) == (404, "service_not_found")


def test_an_anomaly_is_told_with_what_was_expected(client, core, service):
    for minute in range(100, 1, -1):
        slow = 0.9 if 20 <= minute < 25 else 0.1
        put(core, service.id, int(NOW) - 60 * minute, *[slow] * 100)

    (found,) = get(client, service, "anomalies").get_json()["anomalies"]

    assert (found["measure"], found["from"], found["to"]) == ("latency", iso(NOW - 24 * 60), iso(NOW - 19 * 60))
    assert found["value"] == pytest.approx(0.9, rel=0.01)
    assert found["expected"] == pytest.approx(0.1, rel=0.01)
    assert found["score"] > 5


def test_gauges_are_the_figures_that_were_published(client, core, service):
    sample = Sample(throughput=2.5, latency=0.1, latency_p95=0.2, queue_length=7)
    core.telemetry.figures.publish(Published(at=NOW, is_whole=True, services={service.id: sample}))

    text = client.get("/metrics").text

    assert f'penstock_service_throughput_per_second{{service="{service.id}"}} 2.5' in text
    assert f'penstock_service_latency_recent_seconds{{quantile="0.95",service="{service.id}"}} 0.2' in text
    assert f'penstock_service_queue_length{{service="{service.id}"}} 7.0' in text
    assert "penstock_sample_timestamp_seconds 1.7000004e+09" in text


def test_without_redis_the_other_metrics_are_told(client, core):
    core.telemetry.figures.is_away = True

    answer = client.get("/metrics")

    assert answer.status_code == 200
    assert "penstock_service_running{" not in answer.text


def test_every_gauge_names_a_figure():
    assert {figure for figure, _ in status.OF_SAMPLE.values()} | set(status.QUANTILES.values()) <= set(METRICS)
    assert set(status.GAUGES) <= set(metrics.READ_FROM_STORE)
    assert orjson.dumps(A_POINT)
