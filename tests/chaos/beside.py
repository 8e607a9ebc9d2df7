"""Processes beside those that `up` started: further control processes, and node agents that play other hosts."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.services import die_with_tests
from tests.system import ROOT, kill
from workers.launching import status


class Beside:
    """`environ`: settings beyond those of `inherited`, by their name without the prefix; other names are taken whole.

    `through`: a command that starts the process, such as `setpriv`. `data`: its data folder, if it has its own.
    """

    def __init__(
        self,
        folder: Path,
        inherited: Mapping[str, str],
        module: str,
        environ: Mapping[str, str],
        *,
        through: tuple[str, ...] = (),
        data: Path | None = None,
    ) -> None:
        self.module, self.data = module, data
        self._log, self._through = folder / f"{module}.log", through
        ours = {
            name if name.startswith(("LD_", "CHAOS_")) else f"PENSTOCK_{name}": text for name, text in environ.items()
        }
        self._environ = {**inherited, **ours}
        del self._environ["PENSTOCK_RUN_ID"]  # `up` ends what has its number
        self.begin()

    def begin(self) -> None:
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [*self._through, sys.executable, "-m", self.module],
                cwd=ROOT,
                env=self._environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=die_with_tests,
            )

    def pids(self, role: str) -> list[int]:
        """Living workers or engines of a node agent."""
        assert self.data is not None
        return [entry["pid"] for entry in status.read(self.data)["processes"] if entry["role"] == role]

    def logs(self) -> list[Path]:
        """Of the workers of a node agent."""
        assert self.data is not None
        return list(self.data.glob("logs/worker-*.log"))

    def kill(self) -> None:
        """At once, and with it what it has started."""
        children = self.pids("worker") + self.pids("engine") if self.data is not None else []
        self.process.kill()
        self.process.wait(10)
        for pid in children:
            kill(pid)

    def end(self) -> None:
        """As somebody who stops it by hand."""
        if self.process.poll() is not None:
            return
        self.process.terminate()
        try:
            self.process.wait(12)
        except subprocess.TimeoutExpired:
            self.kill()
