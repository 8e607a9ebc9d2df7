"""What the launcher decides, without starting anything."""

import signal
from dataclasses import replace
from pathlib import Path

import pytest

from inference import settings as settings_room
from inference.errors import BadSettings
from workers import launch
from workers.launching import broker, folder, front, roles, status
from workers.launching.roles import Ports, Stage
from workers.launching.supervise import restart_delay_s

PORTS = Ports(broker=6001, node=6003)


@pytest.fixture
def settings():
    return settings_room.load({"PENSTOCK_DATA_DIR": "/data"})


def test_a_part_that_lived_is_started_again_at_once_and_one_that_keeps_ending_ever_later():
    delays, delay = [], 0.0
    for _ in range(8):
        delay = restart_delay_s(delay, lived_s=0.5)
        delays.append(delay)

    assert delays == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    assert restart_delay_s(5.0, lived_s=11.0) == 0.1


def test_a_data_folder_that_cannot_be_made_is_refused_in_one_sentence(tmp_path):
    (tmp_path / "file").write_text("not a folder")

    with pytest.raises(BadSettings, match=r"cannot be made .*choose another with --data-dir"):
        folder.prepare(tmp_path / "file")


def test_every_part_is_told_where_everything_is(settings):
    values = roles.environment(settings, run_id="r1", redis_url=broker.url(port=6001), inherited={"PATH": "/bin"})

    assert values["PATH"] == "/bin"
    assert values["PENSTOCK_RUN_ID"] == "r1"
    assert values["PENSTOCK_DATABASE_URL"] == "sqlite:////data/penstock.db"
    assert values["PENSTOCK_REDIS_URL"] == values["PENSTOCK_BROKER_URL"] == "redis://127.0.0.1:6001/0"


def test_servers_that_the_user_named_are_used_and_no_broker_is_started(settings):
    given = replace(settings, redis_url="redis://:key@cache/1", broker_url="amqp://queue//")

    values = roles.environment(given, run_id="r1", redis_url=broker.url(port=6001), inherited={})
    started = roles.ground(ports=PORTS, listener=4, embedded_broker=False)

    assert (values["PENSTOCK_REDIS_URL"], values["PENSTOCK_BROKER_URL"]) == ("redis://:key@cache/1", "amqp://queue//")
    assert [role.name for role in started] == ["front"]


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("sqlite:///x.db", f"sqlite:///{Path.cwd()}/x.db"),
        ("sqlite:////abs/x.db", "sqlite:////abs/x.db"),
        ("sqlite:///:memory:", "sqlite:///:memory:"),
        ("postgresql://u:p@host/db", "postgresql://u:p@host/db"),
    ],
)
def test_a_database_beside_the_caller_is_the_same_file_for_every_part(settings, given, wanted):
    values = roles.environment(
        replace(settings, database_url=given),
        run_id="r",
        redis_url="redis://x",
        inherited={"PENSTOCK_CONFIG": "p.toml"},
    )

    assert values["PENSTOCK_DATABASE_URL"] == wanted
    assert values["PENSTOCK_CONFIG"] == f"{Path.cwd()}/p.toml"


def test_a_recording_beside_the_caller_is_found_by_every_part(settings):
    with_recording = replace(settings, resources=replace(settings.resources, replay="card.jsonl"))

    values = roles.environment(with_recording, run_id="r", redis_url="redis://x", inherited={})

    assert values["PENSTOCK_RESOURCES__REPLAY"] == f"{Path.cwd()}/card.jsonl"


def test_where_the_broker_has_users_each_role_comes_under_its_own_name(settings):
    passwords = {"api": "a1", "worker": "b2", "monitor": "c3"}
    found = {
        role.name: roles.with_own_user(role, settings, port=6001, passwords=passwords).environment
        for role in [*roles.work(PORTS), *roles.ground(ports=PORTS, listener=4, embedded_broker=True)]
    }

    api = settings_room.load({"PENSTOCK_MODE": "production", **found["api"]})

    assert api.broker_url == api.redis_url == "redis://api:a1@127.0.0.1:6001/0"
    assert found["node"]["PENSTOCK_BROKER_URL"] == "redis://worker:b2@127.0.0.1:6001/0"
    assert "PENSTOCK_WORKERS__METRICS_PORT" in found["node"]
    assert {found[name]["PENSTOCK_REDIS_URL"] for name in ("front", "broker")} == {""}
    assert {found[name]["PENSTOCK_DATABASE_URL"] for name in ("front", "broker")} == {""}


def test_the_figures_of_workers_stay_on_loopback_wherever_the_front_listens():
    node = next(role for role in roles.work(PORTS) if role.name == "node")

    assert node.environment["PENSTOCK_API__HOST"] == "127.0.0.1"


def test_a_broker_of_the_users_own_is_come_to_as_the_user_said(settings):
    given = replace(settings, broker_url="amqp://u:p@queue//")
    passwords = {"api": "a1", "worker": "b2", "monitor": "c3"}

    found = roles.with_own_user(roles.work(PORTS)[0], given, port=6001, passwords=passwords)
    open_to_all = roles.with_own_user(roles.work(PORTS)[0], given, port=6001, passwords={})

    assert found.environment["PENSTOCK_BROKER_URL"] == "amqp://u:p@queue//"
    assert found.environment["PENSTOCK_REDIS_URL"] == "redis://api:a1@127.0.0.1:6001/0"
    assert "PENSTOCK_REDIS_URL" not in open_to_all.environment


def test_the_configuration_of_the_broker_has_users_but_no_password_in_the_clear():
    text = broker.render(port=6001, passwords={"api": "a-secret", "worker": "b-secret", "monitor": "c-secret"})

    assert text.count("\nuser ") == 4
    assert "-secret" not in text
    assert "user " not in broker.render(port=6001)


def test_the_door_is_closed_first_and_the_broker_ends_last_and_softly():
    ground = {role.name: role for role in roles.ground(ports=PORTS, listener=4, embedded_broker=True)}

    assert (ground["front"].stage, ground["broker"].stage) == (Stage.DOOR, Stage.GROUND)
    assert ground["broker"].orphan_signal == signal.SIGTERM
    assert {role.stage for role in roles.work(PORTS)} == {Stage.WORK}
    assert {role.orphan_signal for role in roles.work(PORTS)} == {signal.SIGKILL}


def test_what_was_acknowledged_by_the_broker_survives_and_only_hot_copies_are_evicted():
    lines = broker.render(port=6001).splitlines()

    assert {"bind 127.0.0.1", "port 6001", "appendonly yes", "maxmemory-policy volatile-ttl"} <= set(lines)
    assert {"set-proc-title no", 'save ""', "daemonize no"} <= set(lines)


def test_the_command_line_wins_over_the_environment():
    asked = launch.parser().parse_args(["up", "--port", "0", "--host", "::1", "--data-dir", "/other"])

    found = launch.settings_of(asked, {"PENSTOCK_DATA_DIR": "/data", "PENSTOCK_API__PORT": "99"})

    assert (found.data_dir, found.api.host, found.api.port) == (Path("/other"), "::1", 0)


def test_error_bodies_of_the_front_survive_its_quoting():
    assert "'" not in front._body("bad_request", "nginx's word")
    assert "$" not in front._body("bad_request", "plain")


def test_a_stopped_system_is_one_sentence():
    text = status.table({"running": False, "data_dir": "/data"})

    assert text == "Penstock does not run on /data."


def test_status_is_a_table_for_people():
    found = {
        "running": True,
        "data_dir": "/data",
        "pid": 7,
        "started_at": "2026-01-01T00:00:00.000000Z",
        "urls": {"api": "http://127.0.0.1:8080"},
        "processes": [
            {"role": "worker", "pid": 9, "restarts": 1, "service_id": "abc"},
            {"role": "front", "pid": 8, "restarts": 0},
        ],
    }

    lines = status.table(found).splitlines()

    assert lines[1].split() == ["api", "http://127.0.0.1:8080"]
    assert lines[3].split() == ["worker", "9", "1", "abc"]
    assert lines[4].split() == ["front", "8", "0"]


def test_status_says_how_services_tasks_and_alerts_stand():
    alert = {"severity": "critical", "rule": "old-queue", "service": "digits"}
    found = {
        "running": True,
        "data_dir": "/data",
        "pid": 7,
        "started_at": "2026-01-01T00:00:00.000000Z",
        "urls": {},
        "processes": [],
        "services": {"running": 2, "error": 1},
        "tasks": {"waiting": 70, "running": 8},
        "alerts": [alert] * 6 + [{**alert, "service": None}],
    }

    lines = [line.strip() for line in status.table(found).splitlines()]

    assert lines[1:3] == ["services 1 error, 2 running", "tasks    70 waiting, 8 running"]
    assert lines[3].startswith("alerts   old-queue (critical) of digits; ")
    assert lines[3].endswith("2 more: penstock alert list")
