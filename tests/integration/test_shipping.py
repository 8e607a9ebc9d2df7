"""deploy/rsyslog for real: rsyslogd reads files of ours and posts them to a receiver that answers as Elasticsearch."""

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from inference.settings import LogsSettings
from tests.services import die_with_tests, wait_for
from tests.system import ROOT
from workers.launching import rotate

CONFIG = ROOT / "deploy" / "rsyslog" / "penstock.conf"
RSYSLOG = shutil.which("rsyslogd", path=os.environ["PATH"] + ":/usr/sbin")
WRITER = """
import sys
import structlog
from inference.settings import Settings
from inference.telemetry import log
log.LOOK_S = 0.01
log.configure(Settings(), "engine")
for number in range(int(sys.argv[1]), int(sys.argv[2])):
    structlog.get_logger().warning("job_failed", number=number, task_id="7" * 32, password="hunter2")
"""

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(RSYSLOG is None, reason="rsyslogd is not installed (apt install rsyslog rsyslog-elasticsearch)"),
]


class Receiver:
    """Keeps the documents of every `_bulk`."""

    def __init__(self) -> None:
        self.documents: list[dict[str, Any]] = []
        self.indexes: set[str] = set()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer(200, {"status": "green"})

            do_HEAD = do_GET

            def do_POST(self) -> None:
                lines = self.rfile.read(int(self.headers["Content-Length"])).splitlines()
                for action, document in zip(lines[::2], lines[1::2], strict=True):
                    receiver.indexes.add(json.loads(action)["index"]["_index"])
                    receiver.documents.append(json.loads(document))
                self._answer(200, {"errors": False, "items": [{"index": {"status": 201}} for _ in lines[::2]]})

            def _answer(self, status: int, body: dict[str, Any]) -> None:
                text = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_: Any) -> None:
                pass

        self._handler = Handler
        self.port = 0
        self.open()

    def open(self) -> None:
        """On the port that it had before, if any."""
        self.server = ThreadingHTTPServer(("127.0.0.1", self.port), self._handler)
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def numbers(self) -> list[int]:
        return sorted(one["number"] for one in self.documents if "number" in one)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


@pytest.fixture
def logs(tmp_path: Path, receiver: Receiver) -> Iterator[Path]:
    """The folder that rsyslogd watches."""
    folder, spool = tmp_path / "logs", tmp_path / "spool"
    folder.mkdir()
    spool.mkdir()
    environ = {
        "PENSTOCK_LOG_FILES": f"{folder}/*.log",
        "PENSTOCK_ELASTIC_SERVER": "127.0.0.1",
        "PENSTOCK_ELASTIC_PORT": str(receiver.port),
        "PENSTOCK_SHIP_FOLDER": str(spool),
    }
    with (tmp_path / "rsyslogd.log").open("wb") as said:
        process = subprocess.Popen(
            [str(RSYSLOG), "-n", "-f", str(CONFIG), "-i", str(tmp_path / "rsyslogd.pid")],
            env=environ, stdout=said, stderr=said, preexec_fn=die_with_tests,
        )  # fmt: skip
    time.sleep(0.5)
    assert process.poll() is None, (tmp_path / "rsyslogd.log").read_text()
    yield folder
    process.terminate()
    process.wait(20)


def write(path: Path, first: int, until: int) -> None:
    with path.open("ab") as log:
        subprocess.run(
            [sys.executable, "-c", WRITER, str(first), str(until)], stderr=log, stdout=log, cwd=ROOT, check=True
        )


def test_every_line_arrives_once_also_over_rotations_and_an_outage(logs: Path, receiver: Receiver) -> None:
    ours, foreign = logs / "worker-1.log", logs / "front.log"
    write(ours, 0, 1_000)
    foreign.write_text("2026/11/20 06:30:00 [warn] 7#7: an upstream is slow\n")
    wait_for(lambda: len(receiver.documents) >= 1_001, timeout_s=30, what="first lines")

    receiver.close()
    write(ours, 1_000, 2_000)
    assert rotate.rotate(ours, LogsSettings(file_bytes=65_536), is_followed=True)
    write(ours, 2_000, 3_000)
    time.sleep(1)
    receiver.open()

    wait_for(lambda: len(set(receiver.numbers())) >= 3_000, timeout_s=60, what="all lines")
    assert receiver.numbers() == list(range(3_000))
    one = next(one for one in receiver.documents if one.get("number") == 7)
    assert (one["event"], one["level"], one["task_id"], one["password"]) == (
        "job_failed",
        "warning",
        "7" * 32,
        "[secret]",
    )
    assert one["@timestamp"] == one["timestamp"]
    assert one["file"] == str(ours)
    assert any("an upstream is slow" in one.get("message", "") for one in receiver.documents)
    assert all(index.startswith("penstock-20") for index in receiver.indexes)
