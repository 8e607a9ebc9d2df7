"""A real core behind the WSGI application, with one thing of each kind: what tests that know only the document need.

SQLite, Valkey, the artefact store and the model's trial run are real. No worker node: what is started stays as it is,
so thousands of calls cost no process.
"""

from pathlib import Path
from typing import Any

import sqlalchemy as sa
from flask import Flask

from api import wiring
from api.app import create_app
from inference import settings as settings_room
from inference.access import keys
from inference.access.model import ANYBODY, Role
from inference.ids import new_id
from inference.jobs.model import Claimant, JobState, Outcome
from inference.serving.model import ServiceState
from inference.store import migrate
from inference.store.database import Database
from tests import onnx_models

BASE = "/api/v1/inference"
TASK = {"input_data": {"x": [[1, 2, 3, 4]]}, "metadata": {"of": "the test"}}


class World:
    """`ids`: by the name that paths and bodies use. `heal` puts back what a call has taken away."""

    def __init__(self, folder: Path, redis_url: str) -> None:
        environ = {
            "PENSTOCK_DATA_DIR": str(folder),
            "PENSTOCK_REDIS_URL": redis_url,
            "PENSTOCK_REGISTRY__MODEL_ROOTS": str(folder),
            "PENSTOCK_ACCESS__WRONG_KEYS_PER_MINUTE": "1000000",
            "PENSTOCK_API__WAIT_LIMIT_S": "0.1",  # nobody works here, so whoever waits does so in vain
        }
        self.settings = settings_room.load(environ)
        self.database = Database(self.settings.database_url, self.settings.store)
        migrate.upgrade(self.database)
        self.core = wiring.build(self.settings)
        self.app: Flask = create_app(self.core)
        self.client = self.app.test_client()
        made = keys.create(
            self.core.access, by=ANYBODY, name="the test", role=Role.ADMIN, scope=ANYBODY.scope, is_system=True
        )
        self.headers = {"Authorization": f"Bearer {made.text}"}
        self.ids: dict[str, str] = {}
        self.model_file = onnx_models.linear(folder / "model.onnx")
        self._made = 0
        self._registrations = 0
        self.make_all()

    def close(self) -> None:
        self.core.close()
        self.database.close()

    def call(self, method: str, path: str, **content: Any) -> Any:
        """With the key of an admin."""
        return self.client.open(path, method=method, headers=self.headers, **content)

    def ask(self, method: str, path: str, body: Any = None, *, expect: int = 200) -> Any:
        response = self.call(method, path, json=body)
        assert response.status_code == expect, response.text
        return response.json

    def make_all(self) -> None:
        self._make_model()
        self._make_service()
        self._make_deployment()
        self._make_key()
        self._make_tenant()
        self._make_budget()
        self._make_alert_rule()
        self._make_report()
        self._make_backup()
        self.let_parts_report()
        self.ids["node_id"] = "n"
        self.ids["upload_id"] = self.call("POST", f"{BASE}/uploads", data=b'{"x": [1, 2, 3, 4]}').json["upload_id"]

    def let_parts_report(self) -> None:
        """A node and the control worker were heard just now."""
        self.core.serving.nodes.beat("n", host="h", inventory={})
        self.core.serving.ticks.take("reconcile", every_s=0.0, by="test")

    def heal(self) -> None:
        """A registered model; a running service of it, with tasks that wait, one that is completed, one that failed.

        And a key and a tenant to spare.
        """
        if self.call("GET", f"{BASE}/keys/{self.ids['key_id']}").json["revoked_at"]:
            self._make_key()
        if self.call("GET", f"{BASE}/tenants/{self.ids['tenant_id']}").status_code != 200:
            self._make_tenant()
        if self.call("GET", f"/v1/models/{self.ids['model_id']}").json.get("status") != "registered":
            self._make_model()
        service = self.call("GET", f"{BASE}/services/{self.ids['service_id']}").json
        if service.get("status") != "running":
            self._make_service()
        self._make_budget()
        self._make_alert_rule()
        self._make_report()
        if self.call("GET", f"{BASE}/backups/{self.ids['backup_id']}/content").status_code != 200:
            self._make_backup()

    def completed(self, count: int) -> list[str]:
        """Tasks with a result, of as many services."""
        while len(found := self.ask("GET", f"{BASE}/tasks?status=completed")["tasks"]) < count:
            self._make_service()
        return [one["task_id"] for one in found[:count]]

    def next_task(self) -> str:
        """Of the tasks of the service, another one each time."""
        self._made += 1
        tasks = self._tasks
        return tasks[self._made % len(tasks)]

    def next_name(self) -> str:
        self._made += 1
        return f"name-{self._made}"

    def may_register(self) -> bool:
        """True for a few times only."""
        self._registrations += 1
        return self._registrations < 8

    def _make_model(self) -> None:
        body = {
            "name": self.next_name(),
            "version": "1.0.0",
            "framework": "onnx",
            "model_path": str(self.model_file),
            "metadata": {"author": "you"},
        }
        self.ids["model_id"] = self.ask("POST", "/v1/models/register", body, expect=201)["model_id"]

    def _make_key(self) -> None:
        body = {"name": self.next_name(), "role": "viewer"}
        self.ids["key_id"] = self.ask("POST", f"{BASE}/keys", body, expect=201)["key_id"]

    def _make_budget(self) -> None:
        """The only one: others that were set might refuse what is tried next."""
        made = self.ask("PUT", f"{BASE}/budgets", {"period": "day", "hard": 1e6})["budget_id"]
        self.ids["budget_id"] = made
        for one in self.ask("GET", f"{BASE}/budgets")["budgets"]:
            if one["budget_id"] != made:
                self.call("DELETE", f"{BASE}/budgets/{one['budget_id']}")

    def _make_alert_rule(self) -> None:
        """The only one beside the defaults, and a silence."""
        for one in self.ask("GET", f"{BASE}/alerts/rules")["rules"]:
            if not one["is_default"]:
                self.call("DELETE", f"{BASE}/alerts/rules/{one['rule_id']}")
        rule = {"name": self.next_name(), "metric": "queue_age", "threshold": 10}
        self.ids["rule_id"] = self.ask("POST", f"{BASE}/alerts/rules", rule, expect=201)["rule_id"]
        silence = self.ask("POST", f"{BASE}/alerts/silences", {"for_s": 60}, expect=201)
        self.ids["silence_id"] = silence["silence_id"]

    def _make_report(self) -> None:
        """A completed one, and the only schedule; nobody makes any here."""
        store, everything = self.core.reports.store, ANYBODY.scope
        known = [one.id for one in store.list(everything, service_id=None, limit=100, before_id=None)]
        if self.ids.get("report_id") not in known:
            self.ids["report_id"] = self.ask("POST", f"{BASE}/reports", {}, expect=202)["report_id"]
        while (taken := store.take(by="the test", lease_s=60)) is not None:
            store.complete(taken, by="the test", body=b"<!doctype html><p>hello", summary="hello")
        for one in store.schedules(everything, service_id=None):
            store.unschedule(everything, one.id)
        plan = {"every": "day"}
        self.ids["schedule_id"] = self.ask("POST", f"{BASE}/report-schedules", plan, expect=201)["schedule_id"]

    def _make_backup(self) -> None:
        self.ids["backup_id"] = self.ask("POST", f"{BASE}/backups", {}, expect=201)["backup_id"]

    def _make_tenant(self) -> None:
        body = {"tenant_id": self.next_name()}
        self.ids["tenant_id"] = self.ask("POST", f"{BASE}/tenants", body, expect=201)["tenant_id"]

    def _make_deployment(self) -> None:
        body = {"model_id": self.ids["model_id"], "environment": "test"}
        self.ids["deployment_id"] = self.ask("POST", "/v1/deployments", body, expect=201)["deployment_id"]

    def _make_service(self) -> None:
        body = {"model_id": self.ids["model_id"], "config": {"max_attempts": 1}}
        service_id = self.ask("POST", f"{BASE}/services", body, expect=201)["service_id"]
        self.ids["service_id"] = service_id
        self.ask("POST", f"{BASE}/services/{service_id}/start")
        self.core.serving.services.move(
            None, service_id, allowed=tuple(ServiceState), to=ServiceState.RUNNING, reason="made by the test"
        )
        self._tasks = [
            self.ask("POST", f"{BASE}/services/{service_id}/tasks", TASK, expect=202)["task_id"] for _ in range(4)
        ]
        self._work(service_id)

    def _work(self, service_id: str) -> None:
        """Two of the tasks become final, as a worker would have it."""
        by = self._claimant(service_id)
        store = self.core.jobs.store
        done, failed = (store.claim(by, max_rows=1).jobs[0] for _ in range(2))
        at = store.now_s()
        store.finish(
            by,
            [
                Outcome(job=done, state=JobState.COMPLETED, started_at=at, ended_at=at, batch_size=1,
                        result=b'{"y":[[2.0,4.0,6.0,8.0]]}'),
                Outcome(job=failed, state=JobState.FAILED, started_at=at, ended_at=at, batch_size=1,
                        error_code="engine_failed", error_message="It broke."),
            ],
        )  # fmt: skip

    def _claimant(self, service_id: str) -> Claimant:
        by = Claimant(service_id=service_id, instance_id=new_id(), generation=1, worker="w", model_version="1.0.0")
        with self.database.write() as connection:
            connection.execute(
                sa.text(
                    "INSERT INTO instances (id, service_id, replica_id, slot, replica_generation, generation, pid, "
                    "lease_until, opened_at) VALUES (:id, :service, :replica, 0, 1, 1, 1, 1e12, 0)"
                ),
                {"id": by.instance_id, "service": service_id, "replica": new_id()},
            )
        return by
