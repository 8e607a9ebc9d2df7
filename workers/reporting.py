"""Starts the process that makes reports when one is due: its libraries are large, and most hours have none."""

import os
import subprocess
import sys
import threading

import structlog

from inference.core import Core
from inference.errors import PenstockError

log = structlog.get_logger(__name__)

ROLE = "reports"
STOP_S = 3.0


class Reporting:
    """One process at a time, and a thread that waits for it; without reports there is neither."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._maker: subprocess.Popen[bytes] | None = None
        self._is_asked = self._is_stopping = False

    def kick(self) -> None:
        """Looks whether something is due, and if so sees to it that it is made. Returns at once; never raises."""
        try:
            if not self._core.reports.store.is_due():
                return
        except PenstockError as error:
            log.warning("reports_wait", reason=error.message)
            return
        with self._lock:
            self._is_asked = True
            if self._thread is None and not self._is_stopping:
                # Its life is that of the process that it starts, which the kernel ends with it.
                self._thread = threading.Thread(target=self._run, name=ROLE, daemon=True)
                self._thread.start()

    def stop(self) -> None:
        """Ends the maker; what it had in hand is taken up again after its lease."""
        with self._lock:
            self._is_stopping = True
            thread = self._thread
            if self._maker is not None:
                self._maker.terminate()
        if thread is not None:
            thread.join(STOP_S)

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._is_asked or self._is_stopping:
                    self._thread = None
                    return
                self._is_asked = False
                self._maker = subprocess.Popen(
                    [sys.executable, "-m", "workers.report_maker", str(os.getpid())],
                    env={**os.environ, "PENSTOCK_ROLE": ROLE},
                    stdin=subprocess.DEVNULL,
                )
                maker = self._maker
            code = maker.wait()
            with self._lock:
                self._maker = None
            if code and not self._is_stopping:
                log.warning("report_maker_ended", code=code)
