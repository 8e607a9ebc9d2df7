"""Logging is never worth a failure."""

import json
import logging
import os
import sys
from contextlib import suppress

import pytest
import structlog

from inference.settings import Settings
from inference.telemetry import log_queue
from inference.telemetry.log import configure


@pytest.fixture
def as_it_was():
    """What was set up for logging is put back."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
    log_queue.Here.is_logging = False
    structlog.reset_defaults()


@pytest.fixture
def full_disk(monkeypatch, as_it_was):
    """Standard error on a disk without room."""
    stream = os.fdopen(os.open("/dev/full", os.O_WRONLY), "w", buffering=1)
    monkeypatch.setattr(sys, "stderr", stream)
    yield stream
    with suppress(OSError):
        stream.close()


def test_a_full_disk_costs_lines_of_the_log_and_nothing_else(full_disk):
    configure(Settings(), "test")

    structlog.get_logger().error("something_happened", exc_info=ValueError("why"))
    logging.getLogger("a library").warning("something else")

    with pytest.raises(OSError, match="No space"):
        print("as it would be otherwise", file=full_disk, flush=True)


class Writes(list):
    """A stream that passes on each write at once, as standard error does with PYTHONUNBUFFERED."""

    write = list.append

    def flush(self):
        pass


def test_an_entry_is_one_write_so_that_those_of_two_processes_never_share_a_line(monkeypatch, as_it_was):
    writes = Writes()
    monkeypatch.setattr(sys, "stderr", writes)
    configure(Settings(), "test")

    structlog.get_logger().info("ours")
    logging.getLogger("a library").warning("theirs")

    assert [json.loads(text)["event"] for text in writes] == ["ours", "theirs"]
    assert all(text.endswith("\n") for text in writes)
