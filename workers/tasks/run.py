"""The doorbell's task: three lines around the engine host of this child."""

import os
from typing import Any

from billiard import current_process
from celery import current_app, shared_task, signals

from inference import lifeline
from inference import settings as settings_room
from inference.telemetry.log import configure
from workers.engine_host import EngineHost, start
from workers.queues import DRAIN_TASK

_host: list[EngineHost] = []


@signals.worker_process_init.connect  # type: ignore[untyped-decorator]  # Celery has no types
def load_engine(sender: Any = None, **_: Any) -> None:
    """Runs once in each engine child, before it takes its first task."""
    settings = settings_room.load(os.environ)
    if settings.process.role != "worker" or current_process().name == "MainProcess":
        return
    lifeline.die_with_parent()
    configure(settings, "engine")
    _host.append(start(settings, current_app, hostname=str(sender)))


@signals.worker_process_shutdown.connect  # type: ignore[untyped-decorator]
def finish_batch(**_: Any) -> None:
    """A batch that polling began is no Celery task: nobody else waits for it."""
    while _host:
        _host.pop().rest()


@shared_task(name=DRAIN_TASK, ignore_result=True, acks_late=False)  # type: ignore[untyped-decorator]
def drain(service_id: str, slot: int, token: str) -> None:
    """Drains the queue of this child's service; a doorbell for another one means nothing here."""
    if _host and _host[0].settings.process.service_id == service_id:
        _host[0].answer_bell(int(slot), str(token))
