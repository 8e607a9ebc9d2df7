"""The compose files: what every container must have, and that nothing starts without passwords."""

import json
import os
import shutil
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from inference import settings
from inference.access import token
from inference.redisio import acl
from tests.conftest import start
from tests.services import Valkey, answers, wait_for

ROOT = Path(__file__).parents[2]
PASSWORDS = (
    "POSTGRES_PASSWORD",
    "VALKEY_API_PASSWORD",
    "VALKEY_WORKER_PASSWORD",
    "VALKEY_MONITOR_PASSWORD",
    "FLOWER_PASSWORD",
    "GRAFANA_PASSWORD",
)

KEYS = ("ADMIN_KEY", "METRICS_KEY")


@pytest.fixture
def services() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    return found


@pytest.fixture
def valkey_config() -> str:
    found = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["configs"]["valkey"]["content"]
    return str(found)


@pytest.fixture
def env_file(tmp_path: Path) -> Path:
    """What deploy/make-env.sh writes."""
    path = tmp_path / "env"
    subprocess.run([ROOT / "deploy/make-env.sh", path], check=True, capture_output=True)
    return path


def test_the_stack_has_every_part_of_the_system(services: dict[str, Any]) -> None:
    roles = {"front", "api", "live", "migrate", "control", "beat", "node", "flower"}
    others = {"valkey", "postgres", "prometheus", "grafana"}

    assert set(services) == roles | others


def test_every_part_that_stays_has_a_health_check_and_comes_back_by_itself(services: dict[str, Any]) -> None:
    one_shot = services.pop("migrate")

    assert one_shot["restart"] == "no"
    for name, service in services.items():
        assert service["restart"] == "unless-stopped", name
        assert service["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL"), name
        assert service["logging"]["options"]["max-size"], name


def test_ports_are_open_to_this_machine_alone(services: dict[str, Any]) -> None:
    published = {name: service["ports"] for name, service in services.items() if "ports" in service}

    assert set(published) == {"front", "prometheus", "grafana"}
    assert published.pop("front") == ["${HTTP_HOST:-127.0.0.1}:${HTTP_PORT:-8080}:8080"]
    assert all(port.startswith("127.0.0.1:") for ports in published.values() for port in ports)


def test_nobody_works_before_the_schema_is_the_newest(services: dict[str, Any]) -> None:
    for name in ("api", "live", "control", "beat", "node"):
        conditions = services[name]["depends_on"]
        assert conditions["migrate"] == {"condition": "service_completed_successfully"}, name
        assert conditions["valkey"] == {"condition": "service_healthy"}, name
    assert services["migrate"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}


def test_our_containers_give_up_all_rights(services: dict[str, Any]) -> None:
    ours = [service for service in services.values() if "build" in service]

    assert len(ours) == 8
    for service in ours:
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]


def test_make_env_writes_strong_passwords_for_its_owner_alone_and_never_over_old_ones(env_file: Path) -> None:
    before = env_file.read_text()
    values = dict(line.split("=", 1) for line in before.splitlines() if "=" in line and not line.startswith("#"))

    again = subprocess.run([ROOT / "deploy/make-env.sh", env_file], capture_output=True, text=True, check=False)

    assert set(values) == {*PASSWORDS, *KEYS}
    assert len(set(values.values())) == len(values)
    assert all(len(values[name]) == 48 and values[name].isalnum() for name in PASSWORDS)
    assert all(token.id_of(values[name]) for name in KEYS)
    assert stat.S_IMODE(env_file.stat().st_mode) == 0o600
    assert again.returncode == 1
    assert env_file.read_text() == before


def test_the_settings_of_every_role_are_accepted_in_production(services: dict[str, Any], env_file: Path) -> None:
    values = dict(line.split("=", 1) for line in env_file.read_text().splitlines() if line.startswith(PASSWORDS + KEYS))
    for name, service in services.items():
        if "build" not in service:
            continue
        environ = {"PENSTOCK_DATA_DIR": "/data"}
        environ |= {key: filled(str(text), values) for key, text in service["environment"].items()}

        loaded = settings.load(environ)

        assert name == "front" or loaded.mode == "production"
        assert name == "front" or loaded.database_url.startswith("postgresql://"), name


def test_each_role_comes_to_valkey_under_its_own_name(services: dict[str, Any]) -> None:
    users = {}
    for name, service in services.items():
        if "build" in service:
            environ = service["environment"]
            users[name] = str(environ.get("PENSTOCK_REDIS_URL", "")).partition("://")[2].partition(":")[0]
            assert environ.get("PENSTOCK_REDIS_URL") == environ.get("PENSTOCK_BROKER_URL")

    assert users == {
        "front": "", "migrate": "", "api": "api", "live": "api",
        "control": "worker", "beat": "worker", "node": "worker", "flower": "monitor",
    }  # fmt: skip


def test_the_users_of_valkey_are_those_that_the_code_knows(valkey_config: str) -> None:
    written = [line for line in valkey_config.splitlines() if line.startswith("user ")]

    secret = ">${{VALKEY_{}_PASSWORD:?run deploy/make-env.sh first}}"
    assert written == ["user default reset", *(acl.line(user, secret.format(user.upper())) for user in acl.USERS)]
    assert "requirepass" not in valkey_config


def test_a_real_valkey_starts_with_this_configuration_and_lets_in_its_users_alone(
    valkey_config: str, env_file: Path, tmp_path: Path
) -> None:
    values = dict(line.split("=", 1) for line in env_file.read_text().splitlines() if line.startswith(PASSWORDS))
    server = start(Valkey, tmp_path / "probe")  # only to know that there is one, and for a port that is free
    server.stop()
    config = filled(valkey_config, values).replace("dir /data", f"dir {tmp_path}\nport {server.port}\nbind 127.0.0.1")
    (tmp_path / "probe" / "valkey.conf").write_text(config)

    server.process.start()
    try:
        wait_for(lambda: answers(server.port), timeout_s=10, what=server.process.log())
        for user in acl.USERS:
            login = f"AUTH {user} {values[f'VALKEY_{user.upper()}_PASSWORD']}\r\nPING\r\n"
            assert answers(server.port, say=login.encode(), expect=b"+OK")
        assert answers(server.port, say=b"PING\r\n", expect=b"-NOAUTH")
    finally:
        server.stop()


def filled(text: str, values: dict[str, str]) -> str:
    """As Compose fills in ${NAME:?message} and ${NAME:-default}."""
    while "${" in text:
        before, _, rest = text.partition("${")
        inner, _, after = rest.partition("}")
        name, _, default = inner.partition(":")
        text = before + values.get(name, default[1:]) + after
    return text


def compose(*arguments: str) -> "subprocess.CompletedProcess[str]":
    environ = {key: value for key, value in os.environ.items() if key not in PASSWORDS + KEYS}
    return subprocess.run(
        ["docker", "compose", "--project-directory", str(ROOT), *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=environ,
        cwd=ROOT,
    )


def needs_compose() -> None:
    """Skips where there is no Docker Compose 2.24 or newer: its config command needs no daemon."""
    if shutil.which("docker") is None or compose("version").returncode != 0:
        pytest.skip("no Docker Compose here; deploy/try-compose.sh brings its own")


@pytest.mark.parametrize("override", [[], ["-f", "docker-compose.gpu.yml"]], ids=["cpu", "gpu"])
def test_compose_accepts_the_files(override: list[str], env_file: Path) -> None:
    needs_compose()

    done = compose("--env-file", str(env_file), "-f", "docker-compose.yml", *override, "config", "--format", "json")

    assert done.returncode == 0, done.stderr
    node = json.loads(done.stdout)["services"]["node"]
    assert node["build"]["args"]["EXTRA"] == ("gpu" if override else "cpu")
    assert bool(node.get("deploy")) is bool(override)


@pytest.mark.parametrize("missing", PASSWORDS + KEYS)
def test_compose_refuses_to_start_without_a_password(missing: str, env_file: Path) -> None:
    needs_compose()
    lines = [line for line in env_file.read_text().splitlines() if not line.startswith(missing)]
    env_file.write_text("\n".join(lines))

    done = compose("--env-file", str(env_file), "-f", "docker-compose.yml", "config", "-q")

    assert done.returncode != 0
    assert missing in done.stderr
    assert "deploy/make-env.sh" in done.stderr
