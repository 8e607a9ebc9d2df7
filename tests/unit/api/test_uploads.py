"""Uploads: checked against their digest, listed, read and deleted."""

import base64
import hashlib

import pytest

from inference.ids import new_id

BASE = "/api/v1/inference"
CONTENT = b"weights" * 1000
SHA256 = hashlib.sha256(CONTENT)
BASE64 = base64.b64encode(SHA256.digest()).decode()


def send(client, content=CONTENT, query="", **headers):
    return client.post(f"{BASE}/uploads{query}", data=content, headers=headers)


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Digest": f"sha-256=:{BASE64}:"},
        {"Content-Digest": f"sha-512=:{BASE64}:, sha-256=:{BASE64}:"},
        {"Content-Digest": "md5=:unknown:"},
        {"X-Content-SHA256": SHA256.hexdigest().upper()},
        {"Content-Digest": f"sha-256=:{BASE64}:", "X-Content-SHA256": SHA256.hexdigest()},
    ],
)
def test_a_body_that_is_what_its_digest_says_is_kept(client, headers):
    answer = send(client, **headers)

    assert (answer.status_code, answer.json["sha256"]) == (201, SHA256.hexdigest())
    assert answer.headers["Location"] == f"{BASE}/uploads/{answer.json['upload_id']}"


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"Content-Digest": f"sha-256=:{base64.b64encode(bytes(32)).decode()}:"}, "digest_mismatch"),
        ({"X-Content-SHA256": "0" * 64}, "digest_mismatch"),
        ({"X-Content-SHA256": "0" * 63}, "invalid_field"),
        ({"Content-Digest": "sha-256=:AAAA:"}, "invalid_field"),
        ({"Content-Digest": f"sha-256=:{BASE64}:", "X-Content-SHA256": "0" * 64}, "invalid_field"),
    ],
)
def test_a_body_that_is_not_what_its_digest_says_leaves_nothing(client, core, headers, code):
    core.registry.models.blob_users = lambda key: 0

    answer = send(client, **headers)

    assert (answer.status_code, answer.json["code"]) == (422, code)
    assert (core.registry.uploads.rows, core.registry.blobs.contents) == ({}, {})


def test_an_upload_lives_as_long_as_the_server_is_set_to_or_shorter(client, core):
    plain, short, long = (
        send(client),
        send(client, query="?expires_in_s=60"),
        send(client, query="?expires_in_s=604801"),
    )

    shown = client.get(f"{BASE}/uploads/{short.json['upload_id']}").json
    lives = [one.expires_at - one.created_at for one in core.registry.uploads.rows.values()]
    assert [round(life) for life in lives] == [604_800, 60]
    assert plain.json["expires_at"] > shown["expires_at"] > shown["created_at"]
    assert (long.status_code, long.json["details"]["field"]) == (422, "expires_in_s")


def test_uploads_are_listed_read_in_parts_and_deleted(client):
    ids = [send(client, content).json["upload_id"] for content in (b"a", CONTENT)]
    path = f"{BASE}/uploads/{ids[1]}"

    listed = client.get(f"{BASE}/uploads?limit=1").json
    rest = client.get(f"{BASE}/uploads?limit=1&cursor={listed['next']}").json
    whole, part = client.get(f"{path}/content"), client.get(f"{path}/content", headers={"Range": "bytes=0-6"})
    deleted, gone = client.delete(path), client.get(path)

    assert [page["uploads"][0]["upload_id"] for page in (listed, rest)] == sorted(ids, reverse=True)
    assert "next" not in rest
    assert (whole.status_code, whole.data, part.status_code, part.data) == (200, CONTENT, 206, b"weights")
    assert (deleted.status_code, gone.status_code, gone.json["code"]) == (204, 404, "upload_not_found")


@pytest.mark.parametrize("name", ["x", new_id()])
def test_an_unknown_upload_is_not_found(client, name):
    answers = [client.get(f"{BASE}/uploads/{name}"), client.get(f"{BASE}/uploads/{name}/content")]
    answers.append(client.delete(f"{BASE}/uploads/{name}"))

    assert {(answer.status_code, answer.json["code"]) for answer in answers} == {(404, "upload_not_found")}
