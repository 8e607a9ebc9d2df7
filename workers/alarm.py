"""What processes do when a signal comes: end quietly while they start, and wake from a sleep."""

import contextlib
import os
import select
import signal
import sys


class Alarm:
    """`threading.Event` will not do: its lock may be held by the very thread that the handler interrupts."""

    def __init__(self) -> None:
        self._read_end, self._write_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def ring(self) -> None:
        """Ends the present wait, or the next one."""
        with contextlib.suppress(BlockingIOError):
            os.write(self._write_end, b".")

    def wait(self, timeout_s: float) -> bool:
        """Whether it was rung before the time was over. One wait takes all rings."""
        if not select.select([self._read_end], [], [], timeout_s)[0]:
            return False
        with contextlib.suppress(BlockingIOError):
            os.read(self._read_end, 65_536)
        return True


def end_quietly() -> None:
    """Until a process has its own handlers in place, SIGTERM and SIGINT end it with code 0."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
