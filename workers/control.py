"""The control process: a Celery worker on the queue `control`, and beside it the ticker that needs no broker."""

import dataclasses
import os
import socket
import sys
from collections.abc import Mapping, Sequence

from inference import entry, lifeline
from inference import settings as settings_room
from inference.settings import Settings
from inference.telemetry.log import configure
from inference.telemetry.sharing import share
from workers.alarm import end_quietly

WITH_BEAT = "--with-beat"


def main(environ: Mapping[str, str], arguments: Sequence[str] = ()) -> int:
    """Runs until SIGTERM or SIGINT. Any number of control processes may run beside one another.

    `WITH_BEAT`: it is the beat process, too.

    What it counts (jobs that the sweep ended) is told by the API of the same data folder, if there is one.
    """
    end_quietly()
    settings = settings_room.load(environ)
    if settings.process.run_id:
        lifeline.die_with_parent()
    share(settings.data_dir / "run" / "metrics" / "api")
    configure(settings, "control")
    return _run(settings, beats=WITH_BEAT in arguments)


def _run(settings: Settings, *, beats: bool) -> int:
    from inference import wiring
    from workers import publisher, remote_control
    from workers.alerting import AlertThread
    from workers.app import make_app
    from workers.beat import schedule
    from workers.beating import BeatThread
    from workers.courier import CourierThread
    from workers.launching.vigil import CONTROL_BEAT
    from workers.queues import CONTROL_QUEUE
    from workers.reporting import Reporting
    from workers.sampling import SamplerThread
    from workers.tasks.control import register
    from workers.ticker import Ticker

    # It looks at jobs once each and never again: pages of them, kept, would only look like a leak.
    store = dataclasses.replace(settings.store, sqlite_cache_kb=min(1_000, settings.store.sqlite_cache_kb))
    settings = dataclasses.replace(settings, store=store)
    told = publisher.connect(settings)
    core = wiring.build(settings, bell=told.bell, kick=told.kick)
    name = f"control.{os.getpid()}@{socket.gethostname()}"
    ticker, courier = Ticker(core, name=name, beat=settings.data_dir / CONTROL_BEAT), CourierThread(core, name=name)
    sampler, alerts = SamplerThread(core, name=name), AlertThread(core, name=name)
    reporting = Reporting(core)
    app = make_app(settings)
    register(app, core, ticker, reporting)
    remote_control.narrow(settings)
    app.conf.beat_schedule = schedule(settings)
    beat = BeatThread(app, settings.data_dir / "run")
    ticker.start()
    courier.start()
    if settings.telemetry.is_sampled:
        sampler.start()
    if settings.alerts.is_evaluated:
        alerts.start()
    if beats:
        beat.start()
    worker = app.Worker(
        hostname=name,
        queues=[CONTROL_QUEUE],
        pool_cls="solo",
        concurrency=1,
        loglevel="WARNING",
        without_gossip=True,
        without_mingle=True,
        heartbeat_interval=30,
        quiet=True,
    )
    try:
        worker.start()
    finally:
        beat.stop()
        reporting.stop()
        alerts.stop()
        sampler.stop()
        courier.stop()
        ticker.stop()
        core.close()
        told.close()
    return int(worker.exitcode or 0)


if __name__ == "__main__":
    entry.run(lambda: main(os.environ, sys.argv[1:]))
