"""The disk of the data folder is full: refused with 507 or 503, nothing torn, and well again by itself with room."""

import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest

from tests.load import Load
from tests.system import System, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

DISK_MB = 48
REFUSED = (503, 507)


def unforeseen(system: System) -> str:
    """What the API's views did not expect, from the end of the first such record."""
    lines = (system.data / "logs" / "api.log").read_text(errors="replace").splitlines()
    return next((line[-3000:] for line in lines if "request_failed" in line), "nothing in the log")


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A folder for a system whose data folder has little room."""
    with tempfile.TemporaryDirectory(prefix="penstock-disk-") as name:
        disk = Path(name) / "data"
        disk.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m,mode=700", "tmpfs", str(disk)]
        done = subprocess.run(mount, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"A tmpfs cannot be mounted here: {done.stderr.strip()}")
        try:
            yield Path(name)
        finally:
            subprocess.run(["umount", "-l", str(disk)], check=True)


def fill(path: Path) -> int:
    """Takes all the room that is left; how many bytes it was."""
    with path.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            try:
                while True:
                    file.write(b"\0" * size)
            except OSError:
                continue
    return path.stat().st_size


@pytest.mark.timeout(150)
def test_a_full_disk_refuses_and_tears_nothing_and_resumes_by_itself(small_disk: Path):
    system = System(small_disk).start()
    try:
        service = system.run("double", config={"max_batch": 4}, sleep_ms=20)
        processes = {pid for role in ("broker", "api", "live", "control", "node") for pid in system.pids(role)}
        with Load(system, service, pause_s=0.05) as load:
            wait_for(lambda: len(load.acknowledged) > 20, timeout_s=20, what="load")
            filler = system.data / "filler"
            taken = fill(filler)
            full_at = time.monotonic()
            wait_for(lambda: any(one.status in REFUSED for one in load.told), timeout_s=40, what="the disk is felt")
            upload = _upload(system)
            time.sleep(6)
            fill(system.data / "filler-2")
            time.sleep(2)
            readyz = httpx.get(f"{system.url}/readyz", timeout=10)
            healthz = httpx.get(f"{system.url}/healthz", timeout=10).status_code
            during = load.between(full_at, time.monotonic())

            filler.unlink()
            (system.data / "filler-2").unlink()
            room_at = time.monotonic()
            wait_for(
                lambda: any(one.status == 202 for one in load.between(room_at, time.monotonic())),
                timeout_s=30,
                what="tasks are taken again",
            )
            taken_s = time.monotonic() - room_at
            task = system.submit(service, 3.0)
            answer = system.task(task, wait_s=30)
            done_s = time.monotonic() - room_at
        states = system.until_done(service, timeout_s=60)

        statuses = {status: sum(one.status == status for one in during) for status in {one.status for one in during}}
        now = {pid for role in ("broker", "api", "live", "control", "node") for pid in system.pids(role)}
        print(
            f"{taken >> 20} MiB taken; meanwhile {statuses}, an upload {upload}, /readyz {readyz.status_code}; with "
            f"room again a task was taken after {taken_s:.1f} s and done after {done_s:.1f} s"
        )
        there = {row.id: row.state for row in system.jobs(service)}
        assert answer["result"] == {"y": [[6.0] * 4]}
        assert healthz == 200
        assert set(statuses) <= {202, *REFUSED}, f"{statuses}\n{unforeseen(system)}\n{system.logs()}"
        assert upload in REFUSED
        assert set(states) == {"completed"}
        assert [task for task in load.acknowledged if there.get(task) != "completed"] == []
        assert system.rows("PRAGMA integrity_check")[0][0] == "ok"
        assert [path for path in system.data.glob("blobs/**/*") if path.is_file() and not path.stat().st_size] == []
        assert now == processes, f"a part ended for want of room\n{system.logs()}"
        system.register("double")
    except BaseException:
        print(system.logs())
        raise
    finally:
        system.stop()


def _upload(system: System) -> int:
    """The status of an upload of a file for a model that finds no room."""
    body = np.random.default_rng(1).bytes(4 << 20)
    return httpx.post(
        f"{system.url}/v1/uploads", content=body, headers={"Content-Type": "application/octet-stream"}, timeout=30
    ).status_code
