"""`penstock upload`, `uploads` and `job result`: files on their way there and back."""

import hashlib

import pytest

from inference.ids import new_id

BASE = "/api/v1/inference"
ID = new_id()
SHOWN = {
    "upload_id": ID,
    "size_bytes": 7,
    "sha256": hashlib.sha256(b"weights").hexdigest(),
    "created_at": "2026-11-20T06:30:00.123456Z",
    "expires_at": "2026-11-27T06:30:00.123456Z",
}


def test_a_file_is_sent_with_its_hash_and_its_life(penstock, server, tmp_path):
    (tmp_path / "x.npz").write_bytes(b"weights")
    server.answers["POST", "/v1/uploads"] = (201, SHOWN)

    result = penstock("upload", str(tmp_path / "x.npz"), "--expires-in", "60")

    request = server.requests[-1]
    assert result.exit_code == 0
    assert ID in result.output
    assert request.headers["X-Content-SHA256"] == SHOWN["sha256"]
    assert request.url.params["expires_in_s"] == "60"


def test_uploads_are_listed_shown_and_deleted(penstock, server):
    server.answers["GET", f"{BASE}/uploads"] = (200, {"uploads": [SHOWN]})
    server.answers["GET", f"{BASE}/uploads/{ID}"] = (200, SHOWN)
    server.answers["DELETE", f"{BASE}/uploads/{ID}"] = (204, None)

    listed, shown, deleted = (penstock("uploads", *words) for words in (["list"], ["show", ID], ["delete", ID]))

    assert [result.exit_code for result in (listed, shown, deleted)] == [0, 0, 0]
    assert all(ID in result.output for result in (listed, shown, deleted))


@pytest.mark.parametrize(
    ("words", "path"),
    [(("job", "result", ID), f"{BASE}/tasks/{ID}/result"), (("uploads", "get", ID), f"{BASE}/uploads/{ID}/content")],
)
def test_a_file_comes_back_as_it_is(penstock, server, tmp_path, words, path):
    content = '{"y":[' + "1,\n" * 100_000 + "1]}"
    server.answers["GET", path] = (200, content)

    result = penstock(*words, "-o", str(tmp_path / "out"))

    assert result.exit_code == 0
    assert (tmp_path / "out").read_text() == content
