"""What a forked process is told to become: a Python command line with its surroundings."""

import importlib.machinery
import os
import runpy
import signal
import sys
import types
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, NoReturn, Self

from workers.launching import areas


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """`argv` is `python [...] -m module ...` or `python [...] -c code ...`. Without a `log` it writes to the nursery's.

    `environ` is all that it finds in its environment.
    """

    argv: tuple[str, ...]
    environ: Mapping[str, str]
    cwd: str = ""
    log: str = ""
    leads_session: bool = False
    orphan_signal: int = signal.SIGKILL

    def packed(self, parent_pid: int, fds: list[int]) -> dict[str, Any]:
        """What travels to the nursery: plain values, with who will be the parent."""
        return {**asdict(self), "environ": dict(self.environ), "parent": parent_pid, "fds": fds}

    @classmethod
    def unpacked(cls, content: Mapping[str, Any]) -> Self:
        known = {field.name: content[field.name] for field in fields(cls)}
        return cls(**{**known, "argv": tuple(content["argv"])})

    def settle(self) -> None:
        """Makes this process look, to itself and to others, as if it had been started with this command line."""
        if self.cwd:
            os.chdir(self.cwd)
        if self.log:
            log = os.open(self.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
            os.dup2(log, 1)
            os.dup2(log, 2)
            os.close(log)
        os.environ.clear()
        os.environ.update(self.environ)
        areas.rename(self.argv, self.environ)

    def run(self) -> NoReturn:
        """Runs the command line to its end. Raises SystemExit."""
        option = next(number for number, word in enumerate(self.argv) if word in ("-m", "-c"))
        what, rest = self.argv[option + 1], list(self.argv[option + 2 :])
        sys.argv = ["-c" if self.argv[option] == "-c" else what, *rest]
        if self.argv[option] == "-m":
            runpy.run_module(what, run_name="__main__", alter_sys=True)
        else:
            main = types.ModuleType("__main__")
            main.__loader__ = importlib.machinery.BuiltinImporter
            sys.modules["__main__"] = main
            exec(compile(what, "<string>", "exec"), main.__dict__)  # noqa: S102 - our own command line
        sys.exit(0)
