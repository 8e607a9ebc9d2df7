"""Every blob store keeps content whole, unchanged and under its hash."""

import hashlib
import stat
import threading

import pytest

from inference.blobs.files import FileBlobs
from inference.errors import NoRoom, NotFound, TooLarge


@pytest.fixture
def blobs(tmp_path):
    return FileBlobs(tmp_path / "blobs")


def files(blobs):
    return [path for path in blobs._folder.rglob("*") if path.is_file()]


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


def test_a_full_disk_is_no_room(blobs, monkeypatch):
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
