"""Structured logs: one JSON object a line on stderr, the event first in thought if not in order."""

import logging
import os
import re
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO, cast

import structlog
from structlog.typing import EventDict, Processor

from inference.clock import monotonic_s
from inference.settings import ProcessSettings, Settings
from inference.telemetry import log_queue, redact

LOOK_S = 1.0
_LOG_FILE = re.compile(r"(.+\.log)(\.\d+)?")
_OURS = ("service_id", "replica_id", "node_id")


class Forgiving:
    """A stream that loses what it cannot write (a full disk, a reader that is gone): nobody fails for want of a log.

    Where it is a log file that is rotated, it goes on in the new one: also for whatever else writes to this process's
    standard output and error.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._path = log_file()
        self._look_at = 0.0

    def write(self, text: str) -> int:
        if self._path is not None and monotonic_s() >= self._look_at:
            self._look_at = monotonic_s() + LOOK_S
            with suppress(OSError):
                follow(self._path)
        with suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            self._stream.flush()


def log_file() -> Path | None:
    """The file that standard error goes to, by the name that it has before it is rotated; None for anything else."""
    with suppress(OSError):
        found = _LOG_FILE.fullmatch(str(Path("/proc/self/fd/2").readlink()))
        return Path(found[1]) if found else None
    return None


def follow(path: Path) -> bool:
    """Leads standard output and error to the file of this name, if they lead to what it was before; whether they did.

    Raises OSError.
    """
    mine, there = os.fstat(2), path.stat()
    if os.path.samestat(mine, there):
        return False
    new = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
    try:
        for number in (1, 2):
            if os.path.samestat(os.fstat(number), mine):
                os.dup2(new, number)
    finally:
        os.close(new)
    return True


def identity(role: str, process: ProcessSettings) -> dict[str, Any]:
    """What every entry of a process says of it."""
    return {"role": role, "pid": os.getpid()} | {name: value for name in _OURS if (value := getattr(process, name))}


def configure(settings: Settings, role: str) -> None:
    """Sets up structlog, and sends what libraries log through it. Call once per process, first thing."""

    me = identity(role, settings.process)
    log_queue.Here.is_logging, log_queue.Here.role = True, role

    def add_identity(_logger: Any, _name: str, event: EventDict) -> EventDict:
        return {**me, **event}

    def guard(_logger: Any, _name: str, event: EventDict) -> EventDict:
        clean = redact.redacted(event)
        log_queue.offer(clean)
        return dict(clean)  # what draws it may take it to pieces

    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        add_identity,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="timestamp"),
        structlog.processors.format_exc_info,
    ]
    renderer: Processor = (
        structlog.processors.JSONRenderer()
        if settings.telemetry.log_format == "json"
        else structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(),
            exception_formatter=structlog.dev.plain_traceback,  # the default shows locals: keys and payloads
        )
    )
    out = cast(TextIO, Forgiving(sys.stderr))
    level = logging.getLevelName(settings.telemetry.log_level.upper())
    structlog.configure(
        processors=[*shared, guard, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level if isinstance(level, int) else logging.INFO),
        # One write an entry: with PYTHONUNBUFFERED the other factory makes two, and those of two processes mix.
        logger_factory=structlog.WriteLoggerFactory(file=out),
        cache_logger_on_first_use=True,
    )
    bare = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(processors=[bare, guard, renderer], foreign_pre_chain=shared)
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
