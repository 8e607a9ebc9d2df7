"""What people send who mean harm: refused in one sentence, never a 5xx, nothing outside of the data folder.

The system is a whole one, its front included. Damaged models by the thousand: `tests/chaos/broken_models.py`.
"""

import base64
import gzip
import io
import json
import os
import socket
import tarfile
import zipfile
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from tests import onnx_models
from tests.chaos.broken_models import TOO_LATE, try_all
from tests.system import BASE, System
from tests.unit.registry.artefacts import trap

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

SIZES = [-1, 0, 1 << 31, 1 << 63, (1 << 64) + 1, 1.5, "4", None, True, [], {}]
FOUR = base64.b64encode(b"\0" * 16).decode()


@pytest.fixture(scope="module")
def service(shared_system: System):
    """Of a model of `x`, float32 [null, 4], which is never started: what is accepted stays where it is."""
    service_id = shared_system.create(shared_system.register("double"), queue_while_stopped=True)
    yield service_id
    shared_system.ask("DELETE", f"{BASE}/services/{service_id}", expect=204)


@pytest.fixture
def send(shared_system: System, service: str):
    """Posts a task; the answer's status, and its error code."""

    def post(body, **headers: str) -> tuple[int, str]:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        heard = shared_system.http.post(f"{BASE}/services/{service}/tasks", content=content, headers=headers)
        assert len(heard.content) < 4_000
        return heard.status_code, heard.json().get("code", "")

    yield post
    for row in shared_system.rows("SELECT id FROM jobs WHERE service_id = :s AND state = 'pending'", s=service):
        shared_system.ask("POST", f"{BASE}/tasks/{row.id}/cancel")


@pytest.fixture
def is_well(shared_system: System):
    """After the test the system answers as ever, with the processes that it had."""
    before = sorted(shared_system.every_pid("api"))
    yield
    assert shared_system.http.get("/readyz").status_code == 200
    assert sorted(shared_system.every_pid("api")) == before


@pytest.mark.parametrize("size", SIZES, ids=repr)
@pytest.mark.parametrize("form", ["data", "b64"])
def test_a_tensor_with_an_impossible_shape_is_refused(send, is_well, size, form):
    what = {"data": [1.0, 2.0, 3.0, 4.0]} if form == "data" else {"b64": FOUR}

    answers = {send({"input_data": {"x": what | {"dtype": "float32", "shape": shape}}})
               for shape in ([size], [size, 4], [4, size], [size, size], [1, 4, size], [size] * 40)}  # fmt: skip

    assert {status for status, _ in answers} <= {400, 413, 422}


@pytest.mark.parametrize(
    "tensor",
    [
        {"b64": FOUR, "dtype": "float32", "shape": [1_000_000, 4]},
        {"b64": FOUR, "dtype": "float32", "shape": [1, 3]},
        {"b64": FOUR[:-3], "dtype": "float32", "shape": [1, 4]},
        {"b64": "*" * 24, "dtype": "float32", "shape": [1, 4]},
        {"b64": FOUR, "dtype": "object", "shape": [1, 4]},
        {"b64": FOUR, "dtype": "float32, (9,)", "shape": [1, 4]},
        {"data": [1e400, 1, 1, 1], "dtype": "float32", "shape": [1, 4]},
        {"data": [[1, 2], [3]], "dtype": "float32", "shape": [1, 4]},
        [[1, 2, 3, 4], [1, 2, 3]],
        [[[[1]]]],
        [1 << 70, 1, 1, 1],
        "1, 2, 3, 4",
    ],
    ids=str,
)
def test_a_tensor_that_lies_is_refused(send, is_well, tensor):
    body = json.dumps({"input_data": {"x": tensor}}).replace("Infinity", "1e400").encode()

    status, _ = send(body)

    assert status in (400, 422)


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000 + b"]" * 100_000,
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        b'{"input_data": {"' + b"k" * 1_000_000 + b'": [1]}}',
        b'{"input_data": {"x": [' + b"9" * 1_000_000 + b", 1, 1, 1]}}",
        b'{"input_data": {"x": [1e' + b"9" * 100_000 + b", 1, 1, 1]}}",
        b'{"input_data": {' + b", ".join(b'"k%d": [1]' % number for number in range(50_000)) + b"}}",
        b'{"metadata": ' + b'{"a": ' * 500 + b"1" + b"}" * 500 + b', "input_data": {"x": [1, 2, 3, 4]}}',
        b'{"input_data": {"x": [NaN, 1, 1, 1]}}',
        b'{"input_data": {"x": [1, 2, 3, 4]}, "input_data": {"x": [1, 2, 3, 4]}}',
        b"\xff\xfe" + "{}".encode("utf-16-le"),
        b'{"input_data": {"x": [1, 2, 3, 4]}, "metadata": {"a": "\\ud800"}}',
        b'{"input_data": {"x": [1, 2, 3, 4]}, "metadata": {"a": "\\u0000"}}',
        b"\0" * 1_000_000,
        b"",
    ],
    ids=["arrays", "objects", "long key", "long number", "huge exponent", "many keys", "deep metadata", "NaN",
         "repeated key", "UTF-16", "lone surrogate", "NUL character", "NUL bytes", "nothing"],
)  # fmt: skip
def test_json_that_is_a_bomb_is_refused(send, is_well, body):
    status, code = send(body)

    assert status in (400, 413, 415, 422) or (status == 202 and b"metadata" in body), code


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "gzip, gzip", "identity, gzip"])
def test_a_compressed_body_is_refused_unread(send, is_well, encoding):
    bomb = gzip.compress(b" " * 100_000_000, compresslevel=9)

    assert send(bomb, **{"Content-Encoding": encoding}) == (415, "unsupported_media_type")


def test_a_gzip_bomb_on_a_streamed_path_is_refused_too(shared_system: System, service: str, is_well):
    bomb = gzip.compress(b'{"input_data": {"x": [1, 2, 3, 4]}}\n' * 500_000)
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/x-ndjson"}

    heard = shared_system.http.post(f"{BASE}/services/{service}/tasks/batch", content=bomb, headers=headers)

    assert heard.status_code == 415


@pytest.mark.timeout(120)
def test_models_that_never_end_or_ask_for_everything_are_refused_and_the_server_lives(
    shared_system: System, tmp_path: Path, is_well
):
    loop, huge = onnx_models.loop(tmp_path / "loop.onnx", trips=1 << 62), onnx_models.huge(tmp_path / "huge.onnx")

    answers = [registering(shared_system, path) for path in (loop, huge)]

    assert loop.stat().st_size < 400
    assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [(422, "model_invalid")] * 2
    assert left_of(shared_system, loop, huge) == []


@pytest.mark.parametrize(
    "location", ["../secret.bin", "/etc/passwd", "symbolic.bin", "hard.bin", "secret.bin", "./a/.."]
)
def test_weights_outside_of_the_model_file_are_refused(shared_system: System, tmp_path: Path, location, is_well):
    secret = tmp_path / "secret.bin"
    secret.write_bytes(b"\0" * 64)
    (tmp_path / "symbolic.bin").symlink_to(secret)
    os.link(secret, tmp_path / "hard.bin")

    answer = registering(shared_system, onnx_models.with_external_data(tmp_path / "model.onnx", location))

    assert (answer.status_code, answer.json()["code"]) == (422, "model_invalid")


@pytest.mark.parametrize("path", ["../../etc/passwd", "/dev/zero", "/proc/self/mem", "/etc", "file:///etc/shadow",
                                  "file://host/x", "http://127.0.0.1/x", "upload:../../x", "", "\0",
                                  "a" * 5000])  # fmt: skip
def test_paths_that_are_no_model_of_ours_are_refused(shared_system: System, path, is_well):
    answer = registering(shared_system, path)

    assert answer.status_code in (400, 404, 413, 422), answer.text
    assert "root:" not in answer.text


@pytest.mark.parametrize("kind", ["pickle", "zip slip", "tar slip", "zip of pickle", "tar of links"])
def test_archives_and_pickles_are_refused_and_write_nothing(shared_system: System, tmp_path: Path, kind, is_well):
    mark = tmp_path / "mark"
    model = tmp_path / "model.onnx"
    model.write_bytes(made(kind, mark))
    before = set(tmp_path.iterdir())

    answer = registering(shared_system, model)

    assert answer.status_code == 422, answer.text
    assert answer.json()["code"] in ("model_runs_code", "model_invalid")
    assert set(tmp_path.iterdir()) == before
    assert not Path("/tmp/penstock-slipped").exists()


@pytest.mark.timeout(180)
def test_of_damaged_models_each_is_answered_and_nothing_gets_out():
    found = try_all(150, seed=4)

    assert found.total() == 150
    assert found[TOO_LATE] == 0
    assert found["engine_load_failed"] > 30


@pytest.mark.parametrize(
    "text", ["a\r\nSet-Cookie: x=1", "a\nb", "\x1b[2J\x1b[31mred", "a\x00b", "\u2028", "../x", "%0d%0aX: y"]
)
def test_control_characters_in_names_reach_neither_headers_nor_logs(shared_system: System, text, is_well, service):
    where = [
        shared_system.http.post("/v1/models/register", json=body_of(shared_system.model, name=text)),
        shared_system.http.post(f"{BASE}/services", json={"model_id": text, "name": text}),
        shared_system.http.get(f"{BASE}/tasks/{text.encode().hex()}", params={"wait": text}),
        shared_system.http.get(f"{BASE}/tasks", params={"service_id": text, "cursor": text}),
        shared_system.http.post(
            f"{BASE}/services/{service}/tasks",
            json={"input_data": {"x": [1, 2, 3, 4], text: [1]}, "metadata": {text: text}, "callback_url": text},
        ),
    ]

    assert {answer.status_code for answer in where} <= {400, 404, 409, 413, 422}
    assert all("set-cookie" not in answer.headers and "x" not in answer.headers for answer in where)
    logs = "".join(path.read_text(errors="replace") for path in shared_system.data.glob("logs/*.log"))
    assert "\x1b[" not in logs
    assert not any(line.startswith("Set-Cookie") for line in logs.splitlines())


@pytest.mark.parametrize(
    "header",
    [b"Idempotency-Key: a\rb", b"Idempotency-Key: a\x00b", b"Idempotency-Key: " + b"k" * 100_000, b"X: y\n z",
     b"Content-Length: -1", b"Content-Length: 5\r\nContent-Length: 6", b"Transfer-Encoding: chunked, chunked",
     b"Content-Length: 99999999999999999999", b"X-Request-Id: \x1b[31mred", b"Host: a\r\nHost: b"],
    ids=repr,
)  # fmt: skip
def test_headers_that_smuggle_are_refused_or_harmless(shared_system: System, service: str, header, is_well):
    request = f"POST {BASE}/services/{service}/tasks HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n".encode()

    status = raw(shared_system, request + header + b"\r\n\r\n{}")

    assert 400 <= status < 500
    assert b"\x1b[" not in b"".join(path.read_bytes() for path in shared_system.data.glob("logs/*.log"))


def registering(system: System, path: object) -> httpx.Response:
    return system.http.post("/v1/models/register", json=body_of(path))


def body_of(path: object, **changes: str) -> dict[str, str]:
    name = f"hostile-{os.urandom(6).hex()}"
    return {"name": name, "version": "1.0.0", "framework": "onnx", "model_path": str(path)} | changes


def left_of(system: System, *paths: Path) -> list[str]:
    """Copies that the blob store still has."""
    contents = {path.read_bytes() for path in paths}
    small = [path for path in system.data.rglob("*") if path.is_file() and path.stat().st_size < 1_000]
    return [str(path) for path in small if path.read_bytes() in contents]


def made(kind: str, mark: Path) -> bytes:
    """A file of this kind; who unpacks it carelessly writes to `mark` or beside."""
    if kind == "pickle":
        return trap(mark)
    buffer = io.BytesIO()
    if kind.startswith("zip"):
        with zipfile.ZipFile(buffer, "w") as archive:
            name = "../../../tmp/penstock-slipped" if kind == "zip slip" else "model/data.pkl"
            archive.writestr(name, trap(mark))
        return buffer.getvalue()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in ("/tmp/penstock-slipped", "../../../tmp/penstock-slipped"):
            member = tarfile.TarInfo(name)
            if kind == "tar of links":
                member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
                archive.addfile(member)
            else:
                member.size = 4
                archive.addfile(member, io.BytesIO(b"gone"))
    return buffer.getvalue()


def raw(system: System, request: bytes) -> int:
    """The status of the first answer; 400 where the connection is closed without one."""
    address = urlsplit(system.url)
    with socket.create_connection((address.hostname or "", address.port or 0), timeout=30) as connection:
        connection.sendall(request)
        try:
            line = connection.recv(4096).split(b"\r\n")[0]
        except ConnectionResetError:
            return 400
    return int(line.split()[1]) if line else 400
