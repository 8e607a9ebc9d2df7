"""Logging is never worth a failure."""

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
def full_disk(monkeypatch):
    """Standard error on a disk without room; what was set up for logging is put back."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = os.fdopen(os.open("/dev/full", os.O_WRONLY), "w", buffering=1)
    monkeypatch.setattr(sys, "stderr", stream)
    yield stream
    root.handlers[:], root.level = handlers, level
    log_queue.Here.is_logging = False
    structlog.reset_defaults()
    with suppress(OSError):
        stream.close()


def test_a_full_disk_costs_lines_of_the_log_and_nothing_else(full_disk):
    configure(Settings(), "test")

    structlog.get_logger().error("something_happened", exc_info=ValueError("why"))
    logging.getLogger("a library").warning("something else")

    with pytest.raises(OSError, match="No space"):
        print("as it would be otherwise", file=full_disk, flush=True)
