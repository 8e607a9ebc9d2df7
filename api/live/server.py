"""Serves the live process: `python -m api.live.server --uds PATH`, or `--host H --port P`."""

import argparse
import dataclasses
import functools
import os
import sys
from pathlib import Path

import uvicorn

from api.live import headers
from api.live.app import create_app
from api.live.seats import Seats
from inference import entry, wiring
from inference import settings as settings_room
from inference.access import opening
from inference.lifeline import die_with_parent
from inference.redisio import news
from inference.telemetry import log


def main(arguments: list[str]) -> int:
    """Serves until SIGTERM or SIGINT; who still waits then is cut off after 2 s."""
    parser = argparse.ArgumentParser(prog="api.live.server", description=__doc__)
    parser.add_argument("--uds", type=Path)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", default="0")
    asked = parser.parse_args(arguments)
    port = entry.port(asked.port)
    settings = settings_room.load(os.environ)
    if settings.process.role:
        die_with_parent()
    log.configure(settings, settings.process.role or "live")
    if asked.uds is None and opening.must_ask(settings, asked.host, is_closed=lambda: wiring.has_keys(settings)):
        settings = dataclasses.replace(settings, access=dataclasses.replace(settings.access, require_keys=True))
    core = wiring.build(settings)
    if asked.uds is not None:
        asked.uds.unlink(missing_ok=True)
    else:
        entry.require_free(asked.host, port)
    seated = Seats(
        create_app(core, functools.partial(news.listen, settings)),
        most=settings.api.waiting_per_caller,
        behind_front=settings.api.behind_front,
    )
    try:
        uvicorn.run(
            headers.added_to(seated),
            uds=str(asked.uds) if asked.uds else None,
            host=asked.host,
            port=port,
            backlog=4096,
            access_log=False,
            log_config=None,
            server_header=False,
            proxy_headers=False,  # who may say where a request came from is decided in api/peer.py
            timeout_keep_alive=75,
            timeout_graceful_shutdown=2,
        )
    finally:
        core.close()
    return 0


if __name__ == "__main__":
    entry.run(lambda: main(sys.argv[1:]))
