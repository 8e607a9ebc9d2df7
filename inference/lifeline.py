"""Processes that end with their parent, so that `kill -9` of the launcher leaves nothing behind.

Linux sends a signal of our choice when the parent *thread* ends: start children from a thread that lives as long
as the process, best the main one. The wish is lost at fork and kept at exec, so every process states it for itself.
Elsewhere than on Linux nothing happens.
"""

import ctypes
import os
import resource
import signal
import sys
from collections.abc import Callable, Container
from contextlib import suppress

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent(sig: int = signal.SIGKILL, *, parent_pid: int | None = None) -> None:
    """From now on the kernel sends `sig` to this process when its parent ends.

    With `parent_pid` it also covers a parent that ended before this call: the process then ends at once.
    """
    _prctl(_PR_SET_PDEATHSIG, int(sig))
    if parent_pid is not None and os.getppid() != parent_pid:
        os.kill(os.getpid(), sig)


def adopt_orphans() -> None:
    """From now on processes below this one that lose their parent become its children, to be waited for here."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def reap_orphans(ours: Container[int]) -> None:
    """Waits for adopted children that have ended; stops at one of `ours`, who waits for it itself. Never blocks."""
    with suppress(ChildProcessError):
        while ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            if ended.si_pid in ours:
                return
            os.waitpid(ended.si_pid, 0)


def leave_no_core() -> None:
    """From now on neither this process nor any that it starts writes its memory to disk when it crashes.

    A core dump would hold keys and payloads. It cannot be taken back: the hard limit goes down too.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _prctl(option: int, value: int) -> None:
    if sys.platform != "linux":
        return
    if _libc.prctl(option, value, 0, 0, 0) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def preexec(sig: int = signal.SIGKILL) -> Callable[[], None]:
    """For `subprocess.Popen(preexec_fn=...)`: the child is sent `sig` when the calling thread ends.

    Call it in the process that starts the child. Safe only while that process has one thread.
    """
    parent_pid = os.getpid()
    return lambda: die_with_parent(sig, parent_pid=parent_pid)
