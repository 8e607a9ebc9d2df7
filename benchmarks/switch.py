"""The hot switch of a version, for `bench start`: from the call until every answer is the new version's."""

import json
import time

from benchmarks import systems
from benchmarks.models import Model
from benchmarks.systems import API, Running, call


def switch(running: Running, model: Model, *, version: str) -> float:
    """Registers the model once more under that version, and takes the running service to it.

    One client submits a task, waits for its answer and submits the next, all the while; a task that is refused or does
    not complete ends the benchmark. Seconds from the PATCH to the last answer of the version before, or to the first
    of the new one, whichever is later.
    """
    service = f"{running.url}{API}/services/{running.service_id}"
    model_id = systems.register(running.url, model, version=version)
    begun = time.perf_counter()
    call("PATCH", service, {"model_id": model_id})
    switched_s, has_answered, number = 0.0, False, 0
    while True:
        number += 1
        answered_by = _ask(running, model.bodies[number % len(model.bodies)])
        took_s = time.perf_counter() - begun
        if answered_by != version or not has_answered:
            switched_s = took_s
        has_answered = has_answered or answered_by == version
        if has_answered and number % 10 == 0 and len(call("GET", service)["replica_list"]) == 1:
            return switched_s
        if took_s > 60:
            raise SystemExit(f"{version} did not take over within a minute.")


def _ask(running: Running, body: str) -> str:
    """The version that answered one task."""
    task_id = call("POST", running.url + running.submit, json.loads(body))["task_id"]
    job = call("GET", running.url + running.wait.format(id=task_id))
    if job["status"] != "completed":
        raise SystemExit(f"A task ended as {json.dumps(job)} during the switch.")
    return str(job["model_version"])
