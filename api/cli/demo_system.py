"""The system under the demo: `up` as a child process, waited for, and ended as Ctrl-C would end it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from api.cli import target
from api.cli.client import Client
from api.cli.failure import CallFailed
from inference import lifeline

READY_LIMIT_S = 90.0
STOP_LIMIT_S = 20.0


class System:
    """One `up` of our own. `is_kept`: it outlives us; otherwise the kernel ends it with us, even by kill -9."""

    def __init__(self, data_dir: Path, *, port: int, is_kept: bool, has_flower: bool) -> None:
        self.data_dir = data_dir
        self._is_kept = is_kept
        self._command = [sys.executable, "-m", "workers.launch", "up", "--data-dir", str(data_dir)]
        self._command += ["--port", str(port), *(["--flower"] if has_flower else [])]
        self._child: subprocess.Popen[bytes] | None = None
        self.log = data_dir / "up.log"

    def start(self) -> str:
        """Blocks until everything answers; the public URL. Raises CallFailed with the end of the log."""
        try:
            self.data_dir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            sentence = f"The data folder {self.data_dir} cannot be made ({error.strerror}): choose another."
            raise CallFailed(sentence, code="start_failed") from error
        environ = {name: value for name, value in os.environ.items() if name != target.URL_VARIABLE}
        with self.log.open("wb") as log:
            self._child = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environ,
                start_new_session=True,
                preexec_fn=None if self._is_kept else lifeline.preexec(signal.SIGTERM),
            )
        return self._wait_until_ready(time.monotonic() + READY_LIMIT_S)

    @property
    def pid(self) -> int:
        return self._child.pid if self._child else 0

    def urls(self) -> dict[str, str]:
        """Every address that `up` wrote down."""
        told = (target.running(self.data_dir) or {}).get("urls")
        return {str(name): str(url) for name, url in told.items() if url} if isinstance(told, dict) else {}

    def stop(self) -> int:
        """Ends it as Ctrl-C would; its exit code, 0 when all went well. Harmless when it has ended."""
        if self._child is None:
            return 0
        if self._child.poll() is None:
            self._child.send_signal(signal.SIGINT)
        try:
            return self._child.wait(timeout=STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            self._child.kill()
            return self._child.wait(timeout=STOP_LIMIT_S)

    def _wait_until_ready(self, until: float) -> str:
        failure = CallFailed("It said nothing yet.", code="not_ready")
        while time.monotonic() < until:
            if self._child is not None and self._child.poll() is not None:
                raise self._failed(f"`up` ended with code {self._child.returncode} before it was ready")
            told = target.running(self.data_dir)
            url = target.url_of(told) if told else None
            if url:
                try:
                    with Client(url, timeout_s=5.0) as client:
                        client.ready()
                except CallFailed as error:
                    failure = error
                else:
                    return url
            time.sleep(0.05)
        raise self._failed(f"The system was not ready within {READY_LIMIT_S:.0f} s ({failure.message})")

    def _failed(self, sentence: str) -> CallFailed:
        tail = self.log.read_text(errors="replace").splitlines()[-15:]
        return CallFailed(f"{sentence}.", code="start_failed", details={"log": "\n" + "\n".join(tail)})
