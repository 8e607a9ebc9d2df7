"""Each replica is pinned before it runs, the parent holds no engine, and each model has its own batch size."""

import threading

import httpx
import pytest

from tests.system import BASE, ROOT, System, environ_of, maps_of

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

DIGITS = ROOT / "examples" / "digits" / "model.onnx"


def test_the_device_is_set_before_exec_and_the_parent_maps_no_engine(system: System):
    service = system.create(system.register("onnx", DIGITS))
    system.begin(service)
    system.until_ready(service)
    (worker,), (engine,) = system.pids("worker", service), system.pids("engine", service)

    for pid in (worker, engine):
        environ = environ_of(pid)
        assert environ["CUDA_VISIBLE_DEVICES"] == "", pid
        assert environ["PENSTOCK_DEVICE"] == "cpu"
        assert environ["PENSTOCK_SERVICE_ID"] == service
        assert environ["PENSTOCK_ROLE"] == "worker"
    assert "onnxruntime" in maps_of(engine)
    assert "onnxruntime" not in maps_of(worker)
    for role in ("api", "live", "control", "node"):
        for pid in system.every_pid(role):
            assert "onnxruntime" not in maps_of(pid), role


def test_a_worker_is_a_celery_node_of_its_service(system: System):
    service = system.run("double")
    (worker,) = system.pids("worker", service)

    line = (ROOT / f"/proc/{worker}/cmdline").read_bytes().decode().split("\0")

    assert line[line.index("-Q") + 1] == f"svc.{service}"
    assert line[line.index("-n") + 1].startswith(f"{service}.0@")


@pytest.mark.alone
def test_two_models_with_different_curves_get_different_batch_sizes(system: System):
    by_call, by_row = system.run("double", sleep_ms=10), system.run("double", row_ms=5)

    profiles = [system.show(service)["profile"] for service in (by_call, by_row)]

    print([(one["max_batch"], one["curve"]) for one in profiles])
    assert [one["max_batch"] for one in profiles] == [64, 1]
    assert all(len(one["curve"]) >= 3 for one in profiles)


def test_jobs_that_wait_together_run_together(system: System):
    service = system.run("double", sleep_ms=10)
    ids = system.submit_many(service, [1.0] * 256)

    system.until_done(service, timeout_s=20)

    sizes = [system.task(job_id)["batch_size"] for job_id in ids]
    print(f"batch sizes {sorted(set(sizes))}")
    assert max(sizes) == 64


def test_sixty_four_clients_cause_fewer_commits_than_requests(system: System):
    service = system.run("double")
    commits, requests = (system.metric(f"penstock_{name}_total") for name in ("commits", "submissions"))
    statuses: list[int] = []

    def send() -> None:
        with httpx.Client(base_url=system.url, timeout=30) as client:
            for _ in range(20):
                body = {"input_data": {"x": [[1.0] * 4]}}
                statuses.append(client.post(f"{BASE}/services/{service}/tasks", json=body).status_code)

    threads = [threading.Thread(target=send) for _ in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    committed = system.metric("penstock_commits_total") - commits
    submitted = system.metric("penstock_submissions_total") - requests

    print(f"{submitted:.0f} requests in {committed:.0f} commits")
    assert statuses == [202] * 1280
    assert submitted == 1280
    assert 0 < committed < submitted
    assert system.until_done(service, timeout_s=30) == {"completed": 1280}
