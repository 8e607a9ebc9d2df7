"""Keeps processes running: starts them, brings back what dies, ends them in order. One thread, no polling.

Children get a session of their own, so that Ctrl-C in a terminal reaches the launcher alone, and a death signal,
so that none outlives it.
"""

import contextlib
import os
import resource
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from inference import lifeline
from inference.settings import LogsSettings
from workers.launching import folder, rotate
from workers.launching.born import Task
from workers.launching.nursery import Forked, Nursery
from workers.launching.roles import NO_URLS, Role, Stage
from workers.launching.vigil import HANGS_S, Vigil, vigil_of

_FIRST_DELAY_S, _LAST_DELAY_S = 0.1, 5.0
_HEALTHY_S = 10.0
_OPEN_FILES = 65_536
_HOUSEKEEPING_S = 30.0
NURSERY = "nursery"


def nursery_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """For the process that parts with this environment are forked from: it learns the kind of database only."""
    kind = environment.get("PENSTOCK_DATABASE_URL", "").partition(":")[0]
    return {**environment, **NO_URLS, "PENSTOCK_DATABASE_URL": f"{kind}:", "PENSTOCK_ROLE": NURSERY}


def restart_delay_s(before_s: float, *, lived_s: float) -> float:
    """How long to wait before a process that lived `lived_s` is started again; `before_s` was the last wait.

    0.1 s after a healthy life, else twice the last wait up to 5 s.
    """
    if lived_s >= _HEALTHY_S or before_s <= 0:
        return _FIRST_DELAY_S
    return min(before_s * 2, _LAST_DELAY_S)


class Child:
    """One role and the process that plays it now."""

    def __init__(self, role: Role) -> None:
        self.role = role
        self.process: subprocess.Popen[bytes] | Forked | None = None
        self.started = 0.0
        self.restarts = 0
        self.delay_s = 0.0
        self.due: float | None = 0.0
        self.short_lives = 0
        self.vigil: Vigil | None = None

    @property
    def pid(self) -> int:
        return self.process.pid if self.process else 0


class Supervisor:
    """Owns the children of one run. Use it from the main thread only: their death signal hangs on that thread."""

    def __init__(
        self,
        *,
        data_dir: Path,
        environment: Mapping[str, str],
        say: Callable[[str], None],
        changed: Callable[["Supervisor"], None] = lambda _: None,
        logs: LogsSettings | None = None,
        nursery: Nursery | None = None,
    ) -> None:
        """A `nursery` that is there already is used, and ended at last."""
        self.children: dict[str, Child] = {}
        self.stopping = False
        self.killed = False
        self._data_dir = data_dir
        self._environment = dict(environment)
        self._say = say
        self._changed = changed
        self._log_limits = logs or LogsSettings()
        self._asked_at = 0.0
        self._errand: subprocess.Popen[bytes] | None = None
        self._nursery = nursery
        self._swept_logs = time.monotonic()
        self._wake, self._wake_end = socket.socketpair()
        self._wake.setblocking(False)
        self._wake_end.setblocking(False)

    def listen_to_signals(self) -> None:
        """SIGINT, SIGTERM and SIGHUP ask for the end; a second SIGINT kills at once. Orphans come to us from here."""
        lifeline.adopt_orphans()
        signal.set_wakeup_fd(self._wake_end.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGINT, self._on_signal)
        signal.signal(signal.SIGTERM, self._on_signal)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as `nohup` leaves it
            signal.signal(signal.SIGHUP, self._on_signal)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def _on_signal(self, number: int, _frame: object) -> None:
        now = time.monotonic()
        if not self.stopping:
            self.stopping, self._asked_at = True, now
        elif number == signal.SIGINT and now - self._asked_at > 0.5:
            self.killed = True

    def warm(self) -> None:
        """Has the libraries of the forked roles loaded, in a process beside, from now on."""
        if self._nursery is not None and not self._nursery.is_gone:
            return
        self._nursery = Nursery.opened(
            environ=nursery_environment(self._environment),
            cwd=self._data_dir,
            log=self.log_of(NURSERY),
        )

    def is_warm(self) -> bool:
        """Whether a forked role would be forked now, or none ever will."""
        return self._nursery is None or self._nursery.is_warm() or self._nursery.is_gone

    @property
    def nursery_pid(self) -> int:
        return self._nursery.pid if self._nursery is not None else 0

    def add(self, roles: Iterable[Role]) -> None:
        """Starts these roles and keeps them running."""
        for role in roles:
            child = self.children[role.name] = Child(role)
            self._start(child)
        self._changed(self)

    def wait(self, condition: Callable[[], bool], *, limit_s: float, every_s: float = 0.02) -> bool:
        """Supervises until the condition holds (True), the limit passes or the end is asked for (False)."""
        deadline = time.monotonic() + limit_s
        while not self.stopping:
            if condition():
                return True
            if time.monotonic() >= deadline:
                return False
            self.turn(every_s)
        return False

    def run(self) -> None:
        """Supervises until the end is asked for."""
        while not self.stopping:
            self.turn(1.0)

    def turn(self, limit_s: float) -> None:
        """Sleeps until something happens, `limit_s` at most; then reaps and restarts."""
        now = time.monotonic()
        due = [child.due - now for child in self.children.values() if child.due is not None]
        select.select([self._wake], [], [], max(0.0, min([limit_s, *due])))
        with contextlib.suppress(BlockingIOError):
            while self._wake.recv(512):
                pass
        self._reap()
        if not self.stopping:
            self._restart_due()
            self._end_hanging()
        if time.monotonic() - self._swept_logs > _HOUSEKEEPING_S:
            self._swept_logs = time.monotonic()
            self._rotate_logs(self.children)

    def run_once(self, name: str, argv: tuple[str, ...], environment: Mapping[str, str] | None = None) -> int | None:
        """Runs one short-lived process to its end, supervising meanwhile; its exit code, None if the end came first."""
        process = self._errand = self._spawn(Role(name=name, argv=argv, environment=environment or {}))
        self.wait(lambda: process.poll() is not None, limit_s=600.0)
        if process.poll() is None:
            process.kill()
            process.wait()
            return None
        return process.returncode

    def log_of(self, name: str) -> Path:
        return self._data_dir / "logs" / f"{name}.log"

    def _rotate_logs(self, names: Iterable[str]) -> None:
        """Of parts of ours, which look where their log is, and of others, which do not."""
        ours = {name for name, child in self.children.items() if child.role.logs_ours}
        limits = self._log_limits
        rotated = [name for name in names if rotate.rotate(self.log_of(name), limits, is_followed=name in ours)]
        if rotated:
            packing = rotate.compress_beside(self._data_dir / "logs")
            if packing is not None:
                packing.returncode = 0  # waited for as any orphan is

    def _start(self, child: Child) -> None:
        child.due = None
        child.started = time.monotonic()
        child.vigil = vigil_of(self._data_dir, answers_at=child.role.answers_at, beats_at=child.role.beats_at)
        child.process = self._fork(child.role) or self._spawn(child.role)

    def _fork(self, role: Role) -> Forked | None:
        """None where the role must be started in the slow way."""
        if self._nursery is None or not role.is_forked:
            return None
        self._rotate_logs([role.name])
        forked = self._nursery.start(
            Task(
                argv=role.argv,
                environ=self._environment_of(role),
                cwd=str(self._data_dir),
                log=str(self.log_of(role.name)),
                leads_session=True,
                orphan_signal=role.orphan_signal,
            )
        )
        if self._nursery.is_gone:
            self._nursery.end()
            self.warm()
        return forked

    def _environment_of(self, role: Role) -> dict[str, str]:
        return {**self._environment, **role.environment, "PENSTOCK_ROLE": role.name}

    def _spawn(self, role: Role) -> subprocess.Popen[bytes]:
        self._rotate_logs([role.name])
        arm = lifeline.preexec(role.orphan_signal)

        def before_exec() -> None:
            arm()
            with contextlib.suppress(OSError, ValueError):
                _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
                limit = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
                resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))

        with self.log_of(role.name).open("ab") as log:
            return subprocess.Popen(
                role.argv,
                cwd=self._data_dir,
                env=self._environment_of(role),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=before_exec,
                pass_fds=role.inherit,
            )

    def _reap(self) -> None:
        """Waits for every process that has ended: ours, and the orphans that parts of ours left to us."""
        while pid := _ended_child():
            child = next((one for one in self.children.values() if one.pid == pid), None)
            if child is not None and child.process is not None:
                self._bury(child, child.process)
            elif self._errand is not None and self._errand.pid == pid:
                self._errand.poll()
            else:
                os.waitpid(pid, 0)

    def _bury(self, child: Child, process: subprocess.Popen[bytes] | Forked) -> None:
        _signal_group(process.pid, signal.SIGKILL)  # before the reaping, while the group's number is still ours
        code = process.wait()
        child.process = None
        if not self.stopping:
            self._plan_restart(child, code)
        self._changed(self)

    def _plan_restart(self, child: Child, code: int) -> None:
        now = time.monotonic()
        lived_s = now - child.started
        child.delay_s = restart_delay_s(child.delay_s, lived_s=lived_s)
        child.due = now + child.delay_s
        child.restarts += 1
        child.short_lives = child.short_lives + 1 if lived_s < _HEALTHY_S else 0
        ending = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
        self._say(f"{child.role.name} {ending}; started again in {child.delay_s:.1f} s")
        if child.short_lives in (3, 10) or (child.short_lives and child.short_lives % 50 == 0):
            log = self.log_of(child.role.name)
            self._say(f"{child.role.name} does not stay up. The end of {log}:")
            for line in folder.last_lines(log, 15):
                self._say(f"    {line}")

    def _restart_due(self) -> None:
        now = time.monotonic()
        for child in self.children.values():
            if child.due is not None and child.due <= now:
                self._start(child)
                self._changed(self)

    def _end_hanging(self) -> None:
        for child in self.children.values():
            if child.process is not None and child.vigil is not None and child.vigil.hangs():
                self._say(f"{child.role.name} lives, but nothing was heard of it for {HANGS_S:.0f} s: killed")
                child.vigil = None
                _signal_group(child.pid, signal.SIGKILL)

    def stop(self, *, limit_s: float = 9.0, softly_s: float = 7.5) -> None:
        """Ends every child, stage by stage, in `limit_s` at most; at once after a second Ctrl-C. For once only."""
        self.stopping = True
        begin = time.monotonic()
        for child in self.children.values():
            child.due = None
        limits = {Stage.DOOR: 0.3, Stage.WORK: softly_s, Stage.GROUND: limit_s}
        for stage in Stage:
            so_far = [child for child in self.children.values() if child.role.stage <= stage]
            for child in so_far:
                if child.process is not None and child.role.stage is stage and not self.killed:
                    child.process.terminate()
            while any(child.process for child in so_far) and not self.killed:
                if time.monotonic() - begin > limits[stage]:
                    break
                self.turn(0.05)
            if stage is not Stage.DOOR:
                self._kill(so_far)
        while any(child.process for child in self.children.values()):
            self.turn(0.05)
        if self._nursery is not None:
            self._nursery.end()
        signal.set_wakeup_fd(-1)
        self._wake.close()
        self._wake_end.close()

    def _kill(self, children: list[Child]) -> None:
        left = [child for child in children if child.process is not None]
        if left and not self.killed:
            self._say(f"did not end in time, killed: {', '.join(child.role.name for child in left)}")
        for child in left:
            _signal_group(child.pid, signal.SIGKILL)


def _ended_child() -> int:
    """A child that is dead and still to be reaped; 0 when there is none."""
    try:
        ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return 0
    return ended.si_pid if ended is not None else 0


def _signal_group(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def say(text: str) -> None:
    """One line for the person at the terminal; standard output belongs to scripts."""
    with contextlib.suppress(OSError):
        sys.stderr.write(f"penstock: {text}\n")
        sys.stderr.flush()
