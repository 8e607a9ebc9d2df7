"""A sleep that a signal handler may end."""

import contextlib
import os
import select


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
