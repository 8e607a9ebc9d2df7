"""What a node tells Prometheus: its workers' figures, and the jobs that the agent's own sweeps have ended."""

import os
import subprocess
import sys

from prometheus_client.parser import text_string_to_metric_families

from inference.telemetry import metrics
from workers.node_metrics import exposition

WORKER = """
from inference.telemetry import metrics
metrics.finished.labels("a-service", "completed").inc(3)
metrics.finished.labels("a-service", "dead").inc()
metrics.run_time.labels("a-service").observe(0.1)
"""


def told(folder):
    """(name, state) -> value, of this test's service."""
    return {
        (sample.name, sample.labels.get("state")): sample.value
        for family in text_string_to_metric_families(exposition(folder).decode())
        for sample in family.samples
        if sample.labels.get("service") == "a-service"
    }


def test_jobs_that_the_agent_ended_are_added_to_those_of_its_workers(tmp_path):
    environ = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    before = told(tmp_path).get(("penstock_jobs_finished_total", "dead"), 0.0)
    for _ in range(2):
        subprocess.run([sys.executable, "-c", WORKER], env=environ, check=True)

    metrics.finished.labels("a-service", "dead").inc(5)

    found = told(tmp_path)
    assert found["penstock_jobs_finished_total", "completed"] == 6
    assert found["penstock_jobs_finished_total", "dead"] - before == 7
    assert found["penstock_run_seconds_count", None] == 2
