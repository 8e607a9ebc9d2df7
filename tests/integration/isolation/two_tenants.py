"""Two tenants on one installation, each with all that a tenant can have, and with keys of every reach.

Database, Valkey, artefact store and the trial of a model are real; there is no worker node, so nothing moves by itself.
Whatever a tenant named, wrote or made holds its own name, so that it is found wherever it turns up.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from flask import Flask

from api import wiring
from api.app import create_app
from inference import settings as settings_room
from inference.access import keys
from inference.access.model import ANYBODY, Role, Scope, Tenant
from inference.ids import DEFAULT_TENANT, new_id
from inference.jobs.model import Claimant, JobState, Outcome
from inference.serving.model import ServiceState
from inference.store import migrate, tables
from inference.store.database import Database
from tests import onnx_models

BASE = "/api/v1/inference"
TENANTS = ("ashtree", "oaktree")
WORKSPACES = ("north", "south")
VALUES = [[1, 2, 3, 4]]
HOST = "the-host"
MOVES_BY_ITSELF = ("ticks", "access_epoch")
OF_MODELS = {"model_id", "newer_model_id", "upload_id", "input_upload_id", "model_upload_id"}
OF_ALL = frozenset({"tenant_id", "backup_id", "budget_id", "node_id", "rule_id", "silence_id"} | OF_MODELS)
"""What belongs to a tenant as a whole: a key of any of its workspaces may use it."""

Ids = dict[str, str]


class World:
    """`ids[tenant][workspace]`: one id of each kind; `keys[tenant]`: the texts of its keys, by what they cover."""

    def __init__(self, folder: Path, redis_url: str, database_url: str) -> None:
        environ = {
            "PENSTOCK_DATA_DIR": str(folder),
            "PENSTOCK_REDIS_URL": redis_url,
            "PENSTOCK_DATABASE_URL": database_url,
            "PENSTOCK_ACCESS__REFRESH_S": "0",
        }
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.settings = settings_room.load(environ)
        self.database = Database(self.settings.database_url, self.settings.store)
        migrate.upgrade(self.database)
        self.core = wiring.build(self.settings)
        self.app: Flask = create_app(self.core)
        self.client = self.app.test_client()
        self.model_file = onnx_models.linear(folder / "model.onnx")
        self.system_key = self._key(Scope(DEFAULT_TENANT), "of the system", is_system=True)[1]
        self.core.serving.nodes.beat(HOST, host=HOST, inventory={"cpus": 1, "memory_bytes": 1 << 30, "gpus": []})
        self.keys: dict[str, dict[str, str]] = {}
        self.ids: dict[str, dict[str, Ids]] = {}
        for tenant in TENANTS:
            self._add(tenant)

    def close(self) -> None:
        self.core.close()
        self.database.close()

    def ask(
        self,
        key: str,
        method: str,
        path: str,
        body: Any = None,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """The answer; `body` is sent as JSON, bytes as they are."""
        sent = {"data": body} if isinstance(body, bytes) else {"json": body}
        given = {"Authorization": f"Bearer {key}", **(headers or {})}
        return self.client.open(path, method=method, query_string=query, headers=given, **sent)  # type: ignore[arg-type]

    def made(self, key: str, method: str, path: str, body: Any = None) -> Any:
        answer = self.ask(key, method, path, body)
        assert answer.status_code in (200, 201, 202), f"{method} {path}: {answer.text}"
        return answer.json

    def dump(self) -> dict[str, Any]:
        """Every row of every table, and the names of all artefacts; without what counts or ticks by itself."""
        rows: dict[str, Any] = {}
        with self.database.read() as connection:
            for table in tables.metadata.sorted_tables:
                if table.name not in MOVES_BY_ITSELF:
                    rows[table.name] = sorted(repr(tuple(row)) for row in connection.execute(sa.select(table)))
        rows["blobs"] = sorted(str(path) for path in (self.folder / "blobs").rglob("*") if path.is_file())
        return rows

    def known_of(self, tenant: str, workspace: str | None = None) -> set[str]:
        """What must not be told to others: all ids of the tenant, and its own name, which is in all it wrote."""
        areas = self.ids[tenant].values() if workspace is None else (self.ids[tenant][workspace],)
        hidden = {name for name in self.ids[tenant]["north"] if name != "audit_seq"}
        hidden -= set() if workspace is None else OF_ALL
        return {value for area in areas for name, value in area.items() if name in hidden}

    # --- how it comes to be

    def _key(self, scope: Scope, name: str, *, is_system: bool = False) -> tuple[str, str]:
        made = keys.create(self.core.access, by=ANYBODY, name=name, role=Role.ADMIN, scope=scope, is_system=is_system)
        return made.key.id, made.text

    def _add(self, tenant: str) -> None:
        self.core.access.tenants.insert(Tenant(id=tenant, name=f"the {tenant}", created_at=0.0))
        _, admin = self._key(Scope(tenant), f"admin of {tenant}")
        self.keys[tenant] = {"tenant": admin}
        whole = {"tenant_id": tenant, **self._add_models(tenant, admin)}
        for name in ("upload_id", "input_upload_id"):
            whole[name] = self.made(admin, "POST", f"{BASE}/uploads", b'{"x": [[1, 2, 3, 4]]}')["upload_id"]
        budget = {"period": "day", "hard": 1e6}
        whole["node_id"] = HOST
        whole["budget_id"] = self.made(admin, "PUT", f"{BASE}/budgets", budget)["budget_id"]
        whole["backup_id"] = self.made(admin, "POST", f"{BASE}/backups", {})["backup_id"]
        rule = {"name": f"a rule of {tenant}", "metric": "queue_age", "threshold": 10}
        whole["rule_id"] = self.made(admin, "POST", f"{BASE}/alerts/rules", rule)["rule_id"]
        whole["silence_id"] = self.made(admin, "POST", f"{BASE}/alerts/silences", {"for_s": 86_400})["silence_id"]
        self.ids[tenant] = {}
        for workspace in WORKSPACES:
            scope = Scope(tenant, workspace)
            _, key = self._key(scope, f"{workspace} of {tenant}")
            spare, _ = self._key(scope, f"spare of {workspace} of {tenant}")
            self.keys[tenant][workspace] = key
            ids = whole | self._add_service(tenant, key, whole["model_id"]) | {"key_id": spare}
            mine = f"{BASE}/services/{ids['service_id']}"
            ids["report_id"] = self.made(key, "POST", f"{mine}/reports", {})["report_id"]
            plan = self.made(key, "POST", f"{mine}/report-schedules", {"every": "day"})
            ids["schedule_id"] = plan["schedule_id"]
            of_service = Scope(tenant, None, ids["service_id"])
            _, self.keys[tenant][f"service in {workspace}"] = self._key(of_service, f"for a service of {tenant}")
            ids["service_key_id"], _ = self._key(of_service, f"spare for a service of {tenant}")
            ids["audit_seq"] = str(self.core.access.audit.head()[0])
            self.ids[tenant][workspace] = ids

    def _add_models(self, tenant: str, key: str) -> Ids:
        """One goes through registration; the other is that one with another number."""
        file = self.made(key, "POST", f"{BASE}/uploads", self.model_file.read_bytes())["upload_id"]
        body = {
            "name": "digits",
            "version": "1.0.0",
            "framework": "onnx",
            "model_path": f"upload:{file}",
            "metadata": {"of": tenant},
        }
        first: str = self.made(key, "POST", "/v1/models/register", body)["model_id"]
        model = self.core.registry.models.get(tenant, first)
        newer = dataclasses.replace(model, id=new_id(), version="1.1.0")
        self.core.registry.models.insert(newer)
        return {"model_id": first, "newer_model_id": newer.id, "model_upload_id": file}

    def _add_service(self, tenant: str, key: str, model_id: str) -> Ids:
        name = f"{new_id()[-6:]} of {tenant}"
        config = {"max_attempts": 1, "queue_while_stopped": True}
        service = self.made(key, "POST", f"{BASE}/services", {"model_id": model_id, "name": name, "config": config})
        service_id: str = service["service_id"]
        self.made(key, "POST", f"{BASE}/services/{service_id}/start")
        self.core.serving.services.move(
            None, service_id, allowed=tuple(ServiceState), to=ServiceState.RUNNING, reason="made by the test"
        )
        path = f"{BASE}/services/{service_id}/tasks"
        tasks = [
            self.made(key, "POST", path, {"input_data": {"x": VALUES}, "metadata": {"of": tenant}}) for _ in range(5)
        ]
        ids = [task["task_id"] for task in tasks]
        self._work(service_id, tenant)
        self.made(key, "POST", f"{BASE}/tasks/{ids[-1]}/cancel")
        body = {"model_id": model_id, "environment": f"of {tenant}"}
        deployment = self.made(key, "POST", "/v1/deployments", body)
        return {
            "service_id": service_id,
            "task_id": ids[2],
            "completed_task_id": ids[0],
            "failed_task_id": ids[1],
            "deployment_id": deployment["deployment_id"],
            "deployed_service_id": deployment["service_id"],
        }

    def _work(self, service_id: str, tenant: str) -> None:
        """The first task is completed and the second fails, as a worker would have it; the answer is hot, too."""
        by = Claimant(service_id=service_id, instance_id=new_id(), generation=1, worker="w", model_version="1.0.0")
        lease = {
            "id": by.instance_id,
            "service_id": service_id,
            "replica_id": new_id(),
            "slot": 0,
            "replica_generation": 1,
            "generation": 1,
            "pid": 1,
            "lease_until": 1e12,
            "opened_at": 0.0,
        }
        with self.database.write() as connection:
            connection.execute(tables.instances.insert(), lease)
        store = self.core.jobs.store
        done, broken = (store.claim(by, max_rows=1).jobs[0] for _ in range(2))
        at = store.now_s()
        ended: dict[str, Any] = {"started_at": at, "ended_at": at, "batch_size": 1}
        answer = Outcome(job=done, state=JobState.COMPLETED, result=b'{"y":[[2.0,4.0,6.0,8.0]]}', **ended)
        error = {"error_code": "engine_failed", "error_message": f"It broke for {tenant}."}
        store.finish(by, [answer, Outcome(job=broken, state=JobState.FAILED, **ended, **error)])
        for of, view in store.views([done.id]):
            self.core.jobs.hot.put(of, service_id, [view])
