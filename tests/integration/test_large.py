"""Large inputs and outputs through the whole system: by reference, whole, and in memory that stays as it is."""

import hashlib
import io
from pathlib import Path

import numpy as np
import pytest

from inference.ids import new_id
from tests.services import SeaweedFs
from tests.system import BASE, System

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

WIDTH, ROWS = 100_000, 30
LIMIT = 14_000_000
GROWTH_KB = 12_000
"""Less than half of the result."""


@pytest.mark.parametrize("kind", ["files", pytest.param("s3", marks=pytest.mark.long)])
def test_thirty_megabytes_come_back_whole_and_the_api_never_holds_them(kind, request, own_system):
    system: System = own_system(REGISTRY__UPLOAD_LIMIT_BYTES=LIMIT, **settings(kind, request))
    x = np.random.default_rng(1).random((ROWS, WIDTH), dtype=np.float32)
    service = system.run("double", width=WIDTH)
    upload = send(system, npy(x))
    body = {"input_ref": f"upload:{upload['upload_id']}"}
    task_id = system.ask("POST", f"{BASE}/services/{service}/tasks", body, expect=202)["task_id"]

    task = system.task(task_id, wait_s=30)
    before = reset_peaks(system)
    size, digest, tail = read(system, task["result_ref"]["url"])
    grown = {pid: peak_kb(pid) - at for pid, at in before.items()}

    assert (task["status"], task["result"]) == ("completed", None)
    assert (size, digest) == (task["result_ref"]["size_bytes"], task["result_ref"]["sha256"])
    assert size > 25_000_000
    assert float(tail.rpartition(b",")[2].rstrip(b"]}")) == pytest.approx(2 * float(x[-1, -1]), rel=1e-6)
    print(f"{kind}: a result of {size} bytes; the API's processes grew by {sorted(grown.values())} kB")
    assert max(grown.values()) < GROWTH_KB
    too_large = system.http.post(f"{BASE}/uploads", content=b"x" * (LIMIT + 1))
    assert (too_large.status_code, too_large.json()["code"]) == (413, "too_large")


def settings(kind: str, request: pytest.FixtureRequest) -> dict[str, str]:
    if kind == "files":
        return {}
    server: SeaweedFs = request.getfixturevalue("s3")
    named = {"ENDPOINT": server.url, "BUCKET": "tests", "PREFIX": f"{new_id()}/"}
    named |= {"ACCESS_KEY": server.KEY, "SECRET_KEY": server.SECRET}
    return {"BLOBS__STORE": "s3"} | {f"BLOBS__S3_{name}": value for name, value in named.items()}


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def send(system: System, content: bytes) -> dict[str, str]:
    digest = hashlib.sha256(content).hexdigest()
    answer = system.http.post(f"{BASE}/uploads", content=content, headers={"X-Content-SHA256": digest})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def read(system: System, url: str) -> tuple[int, str, bytes]:
    digest, size, tail = hashlib.sha256(), 0, b""
    with system.http.stream("GET", url) as response:
        assert response.status_code == 200
        for piece in response.iter_bytes():
            digest.update(piece)
            size, tail = size + len(piece), (tail + piece)[-100:]
    return size, digest.hexdigest(), tail


def reset_peaks(system: System) -> dict[int, int]:
    """The memory of each process of the API, in kB; from here its peak is counted anew."""
    pids = [pid for role in ("api", "live") for pid in system.every_pid(role)]
    for pid in pids:
        Path(f"/proc/{pid}/clear_refs").write_text("5")
    assert pids
    return {pid: peak_kb(pid) for pid in pids}


def peak_kb(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmHWM:")))
