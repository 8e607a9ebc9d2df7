"""Files of figures: room is taken before it is needed, and none is no fault of who counts."""

import errno
import os

from inference.telemetry import room
from inference.telemetry.room import FIRST_BYTES, Roomy


def taken_bytes(path):
    return os.stat(path).st_blocks * 512  # noqa: PTH116


def test_the_whole_file_is_on_disk_before_the_first_count(tmp_path):
    figures = Roomy(str(tmp_path / "counter_1.db"))
    figures.write_value("first", 1.0, 0.0)
    figures.close()

    assert taken_bytes(tmp_path / "counter_1.db") >= FIRST_BYTES


def test_a_file_that_grows_takes_its_room_first(tmp_path):
    figures = Roomy(str(tmp_path / "counter_1.db"))
    for number in range(3000):
        figures.write_value(f"a figure with a long name {number}", float(number), 0.0)
    held = figures.read_value("a figure with a long name 2999")
    figures.close()

    assert held == (2999.0, 0.0)
    assert taken_bytes(tmp_path / "counter_1.db") >= 3000 * 56


def test_without_room_old_figures_count_on_and_new_ones_are_not_kept(tmp_path, monkeypatch):
    figures = Roomy(str(tmp_path / "counter_1.db"))
    figures.write_value("old", 1.0, 0.0)
    monkeypatch.setattr(room, "LONGEST_BYTES", FIRST_BYTES)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(room.os, "posix_fallocate", full)
    figures.write_value("old", 2.0, 0.0)
    figures.write_value("new", 1.0, 0.0)
    held = figures.read_value("old"), figures.read_value("new")
    figures.close()

    assert held == ((2.0, 0.0), (0.0, 0.0))


def test_a_process_that_starts_without_room_counts_in_memory_and_raises_nothing(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(room.os, "posix_fallocate", full)

    figures = Roomy(str(tmp_path / "counter_1.db"))
    figures.write_value("first", 2.0, 5.0)
    for number in range(3000):
        figures.write_value(f"a figure with a long name {number}", 1.0, 0.0)
    held = figures.read_value("first"), figures.read_value("a figure with a long name 2999")
    figures.close()

    assert held == ((2.0, 5.0), (0.0, 0.0))
