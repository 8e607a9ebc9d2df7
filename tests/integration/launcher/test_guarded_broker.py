"""The embedded broker in production mode: passwords of this start alone, known to those who need them alone."""

import contextlib
import json
import os
import signal
from pathlib import Path

import pytest
import redis

from tests.integration.launcher.running import Up, up

PRODUCTION = {"PENSTOCK_MODE": "production"}


def url_of(system: Up, role: str) -> str:
    raw = Path(f"/proc/{system.pid(role)}/environ").read_text().split("\0")
    return dict(item.split("=", 1) for item in raw if "=" in item).get("PENSTOCK_REDIS_URL", "")


def says(url: str, *words: str) -> object:
    client = redis.Redis.from_url(url)
    try:
        return client.execute_command(*words)
    finally:
        client.close()


def test_a_new_start_takes_new_passwords_keeps_the_queues_and_the_old_ones_open_nothing(tmp_path):
    with up(tmp_path, **PRODUCTION) as first:
        before = url_of(first, "node")
        says(before, "LPUSH", "svc.a", "one")
        for pid in [first.process.pid, *first.alive()]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

        with up(tmp_path, **PRODUCTION) as second:
            now = url_of(second, "node")

            assert now != before
            assert says(now, "LLEN", "svc.a") == 1
            for closed in (before, second.told["redis_url"]):
                with pytest.raises(redis.exceptions.AuthenticationError):
                    says(closed, "PING")


def test_passwords_stand_in_the_environment_of_their_roles_and_nowhere_else(tmp_path):
    with up(tmp_path, **PRODUCTION) as system:
        roles = ("front", "broker", "api", "live", "control", "node")
        urls = {role: url_of(system, role) for role in roles}
        passwords = {url.split(":")[2].partition("@")[0] for url in urls.values() if url}
        files = [path for path in tmp_path.rglob("*") if path.is_file()]
        lines = [Path(f"/proc/{pid}/cmdline").read_text() for pid in [system.process.pid, *system.alive()]]
        told = [path.read_text(errors="replace") for path in files] + lines + [json.dumps(system.told)]

    assert {role for role, url in urls.items() if url} == {"api", "live", "control", "node"}
    assert len(passwords) == 2
    assert not any(password in text for password in passwords for text in told)
    assert (tmp_path / "run" / "valkey.conf").stat().st_mode & 0o077 == 0
