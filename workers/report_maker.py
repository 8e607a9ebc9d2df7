"""The process that makes reports and tells of them: started when one is due, it ends when none is left.

Apart from the control process, so that the memory goes back, and a crash or a report without end harms nobody else.
"""

import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence

import structlog

from inference import entry, lifeline
from inference import settings as settings_room
from inference.core import Core
from inference.errors import PenstockError
from inference.reports import make
from inference.reports.ports import Telling
from inference.telemetry.log import configure
from workers import posting
from workers.reporting import ROLE

log = structlog.get_logger(__name__)

MOST = 200
"""Then it ends, though there may be more: somebody starts it again."""


def main(environ: Mapping[str, str], parent_pid: int | None = None) -> int:
    """Exit code 0 also when the database is away: what is due stays so."""
    settings = settings_room.load(environ)
    if parent_pid is not None:
        lifeline.die_with_parent(signal.SIGTERM, parent_pid=parent_pid)
    configure(settings, ROLE)
    from inference import wiring

    try:
        core = wiring.build(settings)
    except PenstockError as error:
        log.warning("reports_wait", reason=error.message)
        return 0
    try:
        work(core, by=f"{ROLE}.{os.getpid()}@{socket.gethostname()}")
    except PenstockError as error:
        log.warning("reports_wait", reason=error.message)
    finally:
        core.close()
    return 0


def work(core: Core, *, by: str) -> int:
    """How many reports were made or told of. A report that takes longer than its lease ends this process."""
    ports, telling = core.reports, Telling(mail=posting.mail(core), post=posting.Post(core))
    make.plan(ports)
    for done in range(MOST):
        # Nothing in C hears of a deadline but by a signal, whose default is the end.
        signal.alarm(round(ports.settings.lease_s))
        try:
            if not make.next_one(ports, telling, by=by):
                return done
        finally:
            signal.alarm(0)
    return MOST


def _run(arguments: Sequence[str]) -> int:
    return main(os.environ, int(arguments[0]) if arguments else None)


if __name__ == "__main__":
    entry.run(lambda: _run(sys.argv[1:]))
