"""A role that cannot start says why in one sentence and ends with code 1."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from inference.settings import StoreSettings
from inference.store import migrate
from inference.store.database import Database

ROOT = Path(__file__).parents[2]
NOBODY = "redis://127.0.0.1:1"


def start(folder, module, *options, **settings):
    """(exit code, what it said), of a role that does not come up."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")}
    environ |= {
        "PENSTOCK_DATA_DIR": str(folder),
        "PENSTOCK_REDIS_URL": NOBODY,
        "PENSTOCK_STORE__CONNECT_TIMEOUT_S": "1",
    }
    environ |= {f"PENSTOCK_{name}": value for name, value in settings.items()}
    ended = subprocess.run(
        [sys.executable, "-m", module, *options], cwd=ROOT, env=environ, capture_output=True, text=True, timeout=60
    )
    return ended.returncode, (ended.stdout + ended.stderr).strip()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("nonsense:secret", "PENSTOCK_DATABASE_URL is no URL"),
        ("postgresql://u:secret@127.0.0.1:1/x", "The database is away"),
        ("sqlite:////proc/deep/x.db", "cannot be made"),
    ],
)
@pytest.mark.parametrize("module", ["workers.http_host", "api.live.server", "workers.node", "workers.control"])
def test_a_database_that_cannot_be_had_is_one_sentence(tmp_path, module, url, said):
    code, text = start(tmp_path, module, DATABASE_URL=url, API__PORT="0")

    assert code == 1, text
    assert text.startswith("penstock: ")
    assert said in text
    assert "\n" not in text
    assert "secret" not in text


@pytest.mark.parametrize("module", ["workers.beat", "workers.node"])
def test_a_setting_out_of_its_range_is_one_sentence(tmp_path, module):
    code, text = start(tmp_path, module, JOBS__MAX_ATTEMPTS="0")

    assert (code, text) == (1, "penstock: PENSTOCK_JOBS__MAX_ATTEMPTS must be from 1 to 100, not 0.")


@pytest.mark.parametrize("module", ["workers.http_host", "api.live.server"])
def test_an_impossible_port_is_one_sentence(tmp_path, module):
    code, text = start(tmp_path, module, "--port", "99999")

    assert (code, text) == (
        1,
        "penstock: --port must be a port, 0 to 65535 (0 takes a free one), not 99999.",
    )


@pytest.mark.parametrize("module", ["workers.http_host", "api.live.server"])
def test_a_taken_port_is_one_sentence(tmp_path, module):
    database = Database(f"sqlite:///{tmp_path}/penstock.db", StoreSettings())
    migrate.upgrade(database)
    database.close()

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, text = start(tmp_path, module, "--port", str(port))

    assert (code, text) == (
        1,
        f"penstock: Cannot listen on 127.0.0.1 port {port} (Address already in use): choose another with --host and "
        "--port.",
    )
