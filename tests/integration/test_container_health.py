"""The health check of the containers, against real sockets and files."""

import http.server
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.services import free_port

SCRIPT = Path(__file__).parents[2] / "deploy" / "health.py"
ANSWERS = {
    "/healthz": (200, "{}"),
    "/ill": (503, "{}"),
    "/ready": (200, '{"status":"ready","parts":{"control":"ok","node":"ok"}}'),
    "/half": (503, '{"code":"unavailable","details":{"parts":{"control":"ok","node":"No node has ever reported."}}}'),
}


class Part(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        status, text = ANSWERS[self.path]
        self.send_response(status)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        pass


@pytest.fixture
def part() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Part)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def health(*arguments: str) -> tuple[int, str]:
    done = subprocess.run([sys.executable, SCRIPT, *arguments], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout.strip()


def test_a_part_is_well_when_it_answers_200_and_only_then(part: str) -> None:
    assert health(f"{part}/healthz") == (0, "")
    assert health(f"{part}/ill") == (1, "status 503")
    assert health(f"http://127.0.0.1:{free_port()}/healthz")[0] == 1


def test_one_part_of_an_answer_is_judged_by_itself(part: str) -> None:
    assert health(f"{part}/ready", "node") == (0, "")
    assert health(f"{part}/half", "control") == (0, "")
    assert health(f"{part}/half", "node") == (1, "No node has ever reported.")


def test_a_file_that_should_be_written_now_and_then_is_well_while_it_is(tmp_path: Path) -> None:
    pattern = f"file://{tmp_path}/beat-schedule*"
    assert health(pattern, "60")[0] == 1

    path = tmp_path / "beat-schedule.db"
    path.touch()
    assert health(pattern, "60") == (0, "")

    os.utime(path, (time.time() - 100, time.time() - 100))
    assert health(pattern, "60") == (1, "last written 100 s ago")
