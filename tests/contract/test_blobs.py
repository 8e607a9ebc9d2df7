"""Every blob store keeps content whole, unchanged and under its hash."""

import hashlib
import os
import stat
import threading
import time
from pathlib import PurePath

import pytest

from inference.blobs.files import FileBlobs
from inference.blobs.s3 import S3Blobs, trim
from inference.errors import NoRoom, NotFound, TooLarge, Unavailable
from inference.ids import new_id
from inference.settings import BlobsSettings


@pytest.fixture(params=["files", "s3"])
def blobs(request, tmp_path):
    if request.param == "files":
        return FileBlobs(tmp_path / "blobs")
    return bucket(request.getfixturevalue("s3"), tmp_path / "cache")


def bucket(server, cache, **changes):
    """A place of its own in the bucket of this run, as a host with this cache sees it."""
    values = {
        "s3_bucket": "tests",
        "s3_prefix": f"{new_id()}/",
        "s3_access_key": server.KEY,
        "s3_secret_key": server.SECRET,
    }
    return S3Blobs(BlobsSettings(store="s3", s3_endpoint=server.url, **(values | changes)), cache)


def files(blobs):
    """What the store holds, and what lies about."""
    if isinstance(blobs, FileBlobs):
        return [path for path in blobs._folder.rglob("*") if path.is_file()]
    left = [path for path in (blobs._cache / "incoming").glob("*") if path.is_file()]
    return left + [PurePath(one.name) for one in blobs.old(age_s=-60.0)]


def test_content_lies_under_its_hash_and_nobody_may_write_to_it(blobs):
    stored = blobs.put_bytes(b"weights")

    path = blobs.path(stored.key)
    assert stored.key == hashlib.sha256(b"weights").hexdigest()
    assert stored.size_bytes == 7
    assert path.read_bytes() == b"weights"
    assert stat.S_IMODE(path.stat().st_mode) == 0o444


def test_a_stream_may_be_a_file_or_pieces(blobs, tmp_path):
    (tmp_path / "source").write_bytes(b"ab" * 1_500_000)

    with (tmp_path / "source").open("rb") as file:
        first = blobs.put_stream(file, limit_bytes=3_000_000)
    second = blobs.put_stream((b"ab" for _ in range(1_500_000)), limit_bytes=3_000_000)

    assert first == second
    assert len(files(blobs)) == 1


def test_equal_content_is_kept_once_also_when_it_comes_at_the_same_time(blobs):
    keys = []
    threads = [threading.Thread(target=lambda: keys.append(blobs.put_bytes(b"same" * 1000).key)) for _ in range(8)]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(set(keys)) == 1
    assert [path.name for path in files(blobs)] == [keys[0]]


def test_whether_a_content_is_there_is_told_without_fetching_it(blobs):
    stored = blobs.put_bytes(b"weights")

    assert [blobs.has(key) for key in (stored.key, "0" * 64, "no-key")] == [True, False, False]


def test_another_host_reads_what_one_has_written_and_keeps_a_copy(s3, tmp_path):
    mine = bucket(s3, tmp_path / "mine")
    content = b"0123456789abcdef" * (2 << 20)  # four pieces
    stored = mine.put_stream([content], limit_bytes=len(content))
    theirs = S3Blobs(mine._settings, tmp_path / "theirs")

    path = theirs.path(stored.key)

    assert path.read_bytes() == content
    mine.delete(stored.key)
    assert (theirs.path(stored.key), theirs.has(stored.key)) == (path, False)


def test_a_copy_that_is_not_what_its_name_says_is_refused(s3, tmp_path):
    import obstore

    blobs = bucket(s3, tmp_path / "cache")
    key = hashlib.sha256(b"weights").hexdigest()
    obstore.put(blobs._bucket, f"{key[:2]}/{key}", b"damaged")

    with pytest.raises(Unavailable, match="another content"):
        blobs.path(key)


def test_the_copies_asked_for_longest_ago_make_room(tmp_path):
    for age_s, name in ((300, "oldest"), (200, "older"), (10, "young")):
        (tmp_path / name).write_bytes(b"x" * 10)
        os.utime(tmp_path / name, (time.time() - age_s,) * 2)

    trim(tmp_path, most_bytes=20)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["older", "young"]

    trim(tmp_path, most_bytes=0)
    assert [path.name for path in tmp_path.iterdir()] == ["young"]


@pytest.mark.parametrize("wrong", [{"s3_secret_key": "wrong"}, {"s3_endpoint": "http://127.0.0.1:9"}])
def test_a_bucket_that_cannot_be_reached_is_unavailable_and_its_keys_are_not_told(s3, tmp_path, wrong):
    values = {"s3_bucket": "b", "s3_endpoint": s3.url, "s3_access_key": s3.KEY, "s3_secret_key": s3.SECRET} | wrong
    blobs = S3Blobs(BlobsSettings(store="s3", s3_timeout_s=2.0, **values), tmp_path)

    for call in (lambda: blobs.put_bytes(b"x"), lambda: blobs.has("0" * 64), lambda: blobs.path("0" * 64)):
        with pytest.raises(Unavailable, match="The bucket b does not answer") as caught:
            call()
        assert values["s3_secret_key"] not in caught.value.message


def test_content_over_the_limit_leaves_nothing(blobs):
    with pytest.raises(TooLarge) as caught:
        blobs.put_stream((b"x" * 10 for _ in range(3)), limit_bytes=29)

    assert caught.value.details == {"limit_bytes": 29}
    assert files(blobs) == []


def test_a_source_that_breaks_leaves_nothing(blobs):
    def broken():
        yield b"half"
        raise ConnectionError("gone")

    with pytest.raises(ConnectionError):
        blobs.put_stream(broken(), limit_bytes=100)

    assert files(blobs) == []


def test_a_full_disk_is_no_room(tmp_path, monkeypatch):
    blobs = FileBlobs(tmp_path / "blobs")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("inference.blobs.files.os.fsync", full)

    with pytest.raises(NoRoom):
        blobs.put_bytes(b"weights")
    assert files(blobs) == []


@pytest.mark.parametrize("key", ["0" * 64, "", "../../etc/passwd", "A" * 64, "0" * 63 + "\n"])
def test_what_is_not_there_is_not_found(blobs, key):
    with pytest.raises(NotFound):
        blobs.path(key)


def test_deleted_content_is_gone_and_may_be_deleted_again(blobs):
    key = blobs.put_bytes(b"weights").key

    blobs.delete(key)
    blobs.delete(key)

    assert files(blobs) == []


def test_content_that_is_wanted_after_all_comes_back(blobs):
    key = blobs.put_bytes(b"weights").key
    seen = []

    blobs.delete(key, unless=lambda: not seen.append(files(blobs)))

    assert blobs.path(key).read_bytes() == b"weights"
    assert seen[0][0].name != key


def test_content_comes_back_when_the_question_cannot_be_answered(blobs):
    key = blobs.put_bytes(b"weights").key

    def away():
        raise ConnectionError("no database")

    with pytest.raises(ConnectionError):
        blobs.delete(key, unless=away)

    assert blobs.path(key).read_bytes() == b"weights"
