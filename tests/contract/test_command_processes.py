"""The command line's own processes and checks, with real children and real servers."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from api.cli import checks_host, demo_system, doctor, down
from api.cli.demo_system import System
from api.cli.failure import CallFailed
from api.cli.finding import FAIL, OK, WARN
from inference.settings import StoreSettings
from inference.store.database import Database
from inference.store.migrate import upgrade
from tests.conftest import own_database

READY = """
import http.server, json, os, pathlib, signal, sys
folder = pathlib.Path(sys.argv[1])
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = b'{"status": "ready"}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass
server = http.server.HTTPServer(("127.0.0.1", 0), Answer)
(folder / "run").mkdir()
url = f"http://127.0.0.1:{server.server_port}"
(folder / "run" / "up.json").write_text(json.dumps({"pid": os.getpid(), "urls": {"api": url}}))
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
try:
    server.serve_forever()
except KeyboardInterrupt:
    sys.exit(0)
"""


def system(folder, code: str, *, is_kept: bool = False) -> System:
    made = System(folder, port=0, is_kept=is_kept, has_flower=True)
    made._command = [sys.executable, "-c", code, str(folder)]
    return made


def test_a_system_is_waited_for_and_ended_as_ctrl_c_would(tmp_path):
    running = system(tmp_path, READY)

    url = running.start()
    urls = running.urls()
    finding = next(found for found in doctor.examine({"PENSTOCK_DATA_DIR": str(tmp_path)}) if found.name == "system")
    code = running.stop()

    assert urls == {"api": url}
    assert finding.status == OK
    assert code == 0
    assert running.stop() == 0


def test_a_system_that_ends_at_once_is_told_with_the_end_of_its_log(tmp_path):
    with pytest.raises(CallFailed, match="ended with code 3") as caught:
        system(tmp_path, "import sys; print('the port is taken'); sys.exit(3)").start()

    assert "the port is taken" in caught.value.details["log"]


def test_a_system_that_is_never_ready_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(demo_system, "READY_LIMIT_S", 0.3)
    silent = system(tmp_path, "import time; time.sleep(60)")

    with pytest.raises(CallFailed, match="not ready within"):
        silent.start()

    assert silent.stop() != 0


def test_a_system_that_ignores_ctrl_c_is_killed(tmp_path, monkeypatch):
    monkeypatch.setattr(demo_system, "STOP_LIMIT_S", 0.3)
    deaf = system(
        tmp_path, READY.replace("import http", "import signal; signal.signal(2, signal.SIG_IGN)\nimport http")
    )
    deaf.start()

    assert deaf.stop() == -signal.SIGKILL


def test_down_ends_the_up_of_a_folder(tmp_path, capsys):
    child = subprocess.Popen([sys.executable, "-c", READY, str(tmp_path)])
    until = time.monotonic() + 20
    while not (tmp_path / "run" / "up.json").exists() and time.monotonic() < until:
        time.sleep(0.01)
    time.sleep(0.2)

    code = down.run(data_dir=str(tmp_path), is_json=True)

    assert code == 0
    assert json.loads(capsys.readouterr().out)["status"] == "stopped"
    assert child.wait(timeout=5) == 0


def test_down_says_when_it_did_not_work(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(down, "LIMIT_S", 0.2)
    (tmp_path / "run").mkdir()
    child = subprocess.Popen(
        [sys.executable, "-c", "import signal,time; signal.signal(15, signal.SIG_IGN); time.sleep(60)"]
    )
    (tmp_path / "run" / "up.json").write_text(json.dumps({"pid": child.pid}))
    time.sleep(0.3)

    code = down.run(data_dir=str(tmp_path), is_json=False)
    child.kill()
    child.wait()

    assert code == 1
    assert "still runs" in capsys.readouterr().out


def findings(**environ: str) -> dict[str, str]:
    return {found.name: found.status for found in doctor.examine(environ)}


def test_this_machine_can_run_penstock(tmp_path):
    found = findings(PENSTOCK_DATA_DIR=str(tmp_path), PENSTOCK_API__PORT="0")

    assert FAIL not in found.values()
    assert {"python", "port", "disk", "sql", "redis", "front", "engine", "gpu"} <= set(found)
    assert list(tmp_path.iterdir()) == []


def test_a_port_in_use_is_found(tmp_path):
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        found = checks_host.port("127.0.0.1", taken.getsockname()[1], tmp_path)

    assert found.status == FAIL
    assert "--port" in found.fix


def test_a_port_that_our_own_up_holds_is_fine(tmp_path):
    (tmp_path / "run").mkdir()
    told = {"pid": os.getpid(), "urls": {"api": "http://127.0.0.1:8080"}}
    (tmp_path / "run" / "up.json").write_text(json.dumps(told))

    assert checks_host.port("127.0.0.1", 8080, tmp_path).status == OK


def test_servers_that_answer_and_servers_that_do_not(tmp_path, redis_url):
    away = "redis://:secret@127.0.0.1:1/0"

    well = findings(PENSTOCK_DATA_DIR=str(tmp_path), PENSTOCK_REDIS_URL=redis_url, PENSTOCK_BROKER_URL=redis_url + "#2")
    ill = findings(
        PENSTOCK_DATA_DIR=str(tmp_path),
        PENSTOCK_REDIS_URL=away,
        PENSTOCK_BROKER_URL="amqp://x@127.0.0.1:1//",
        PENSTOCK_DATABASE_URL="postgresql://a:b@127.0.0.1:1/x",
    )

    assert (well["redis"], well["broker"]) == (OK, OK)
    assert (ill["redis"], ill["broker"], ill["sql"]) == (FAIL, FAIL, FAIL)


def test_a_database_without_the_newest_schema_is_a_warning(postgres_url, tmp_path):
    with own_database(postgres_url) as url:
        before = findings(PENSTOCK_DATA_DIR=str(tmp_path), PENSTOCK_DATABASE_URL=url)["sql"]
        database = Database(url, StoreSettings())
        upgrade(database)
        database.close()
        after = findings(PENSTOCK_DATA_DIR=str(tmp_path), PENSTOCK_DATABASE_URL=url)["sql"]

    assert (before, after) == (WARN, OK)
