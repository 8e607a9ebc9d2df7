"""A Celery worker with a late-acknowledged task, for tests: `python -m tests.late_acks guarded|bare LOG`.

It fetches more than it runs, as Celery does by default: what waits in the worker is unacknowledged at a reconnect.
"""

import os
import sys
import time
from pathlib import Path

from kombu.transport.redis import Transport

from inference.settings import load
from workers.app import make_app

QUEUE = "late"
TASK = "tests.late"
TASK_S = 1.0


def main(kind: str, path: str) -> int:
    app = make_app(load(os.environ))
    app.conf.update(worker_disable_prefetch=False, worker_prefetch_multiplier=4)
    if kind == "bare":
        Transport.connection_errors = tuple(e for e in Transport.connection_errors if e is not AttributeError)

    @app.task(name=TASK, acks_late=True)
    def late(number: int) -> None:
        time.sleep(TASK_S)
        with Path(path).open("a") as log:
            log.write(f"{number}\n")

    worker = app.Worker(
        hostname=f"{kind}.{os.getpid()}@localhost",
        queues=[QUEUE],
        pool_cls="threads",
        concurrency=2,
        loglevel="WARNING",
        without_gossip=True,
        without_mingle=True,
        quiet=True,
    )
    worker.start()
    return int(worker.exitcode or 0)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
