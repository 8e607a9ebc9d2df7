"""Serves the live process: `python -m api.live.server --uds PATH`, or `--host H --port P`."""

import argparse
import dataclasses
import functools
import gc
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from inference import entry, waiting
from inference import settings as settings_room
from inference.access import opening
from inference.core import Core
from inference.lifeline import die_with_parent
from inference.settings import Settings
from inference.telemetry import log, sharing


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
    sharing.share(settings.data_dir / "run" / "metrics" / "api")
    # After it was said where metrics are kept: they are declared at import.
    from api import wiring
    from api.live.monitor import MOST_BYTES
    from inference.wiring import has_keys

    if asked.uds is None and opening.must_ask(settings, asked.host, is_closed=lambda: has_keys(settings)):
        settings = dataclasses.replace(settings, access=dataclasses.replace(settings.access, require_keys=True))
    core = wiring.build(settings)
    if asked.uds is not None:
        asked.uds.unlink(missing_ok=True)
    else:
        entry.require_free(asked.host, port)
    application, close = assemble(core, settings)
    logging.getLogger("uvicorn.error").addFilter(_is_true)
    gc.freeze()  # what was made by now stays: no collection needs to go through it again
    waiting.forbid_here()
    try:
        uvicorn.run(
            application,
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
            ws="websockets-sansio",
            ws_max_size=4 * MOST_BYTES,
            ws_per_message_deflate=False,  # 60 KB a socket, and more CPU than so short messages are worth
        )
    finally:
        waiting.allow_again()
        close()
        core.close()
    return 0


def _is_true(record: logging.LogRecord) -> bool:
    """uvicorn takes a WebSocket that was refused by an HTTP answer, as ASGI has it, for one that was forgotten."""
    return "without completing handshake" not in str(record.msg)


def assemble(core: Core, settings: Settings) -> tuple[ASGIApp, Callable[[], None]]:
    """The whole application, and what ends its threads: hot calls first, then the seats of those that wait."""
    from api.live import headers
    from api.live.app import create_app
    from api.live.fast import Fast
    from api.live.predict import Predicts
    from api.live.seats import Seats
    from api.live.submit import Submits
    from api.live.waiters import Waiters
    from inference.jobs.commit_loop import LoopCommit
    from inference.redisio import figures, news
    from inference.redisio.express_asker import Asker

    waiters = Waiters()
    seated = Seats(
        create_app(
            core, functools.partial(news.listen, settings), waiters, functools.partial(figures.listen, settings)
        ),
        most=settings.api.waiting_per_caller,
        behind_front=settings.api.behind_front,
    )
    fast = Fast(headers.added_to(seated), core)
    commit = LoopCommit(core.jobs.store, core.jobs.bell, settings.jobs)
    submits = Submits(core, commit, fast, waiters.expect, waiters.hear)
    fast.add(submits.route())
    for route in Predicts(core, submits, Asker(settings, core.jobs.bell), fast).routes():
        fast.add(route)

    def close() -> None:
        commit.close()
        fast.close()

    if core.jobs.traces is not None:
        from api.live.traced import Traced

        return Traced(fast, core.jobs.traces, fast.aside), close
    return fast, close


if __name__ == "__main__":
    entry.run(lambda: main(sys.argv[1:]))
