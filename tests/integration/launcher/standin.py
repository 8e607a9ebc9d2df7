"""Stand-in parts for tests of the launcher: the real front, broker, API server and supervision, a toy behind them."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from inference import lifeline
from workers.launch import parser, settings_of
from workers.launching import front, up
from workers.launching.roles import Ports, Role

ROOT = Path(__file__).parents[3]
HERE = "tests.integration.launcher.standin"


def create_app():
    """Echoes who answered, the path and the size of the body. `POST /slow` would block a thread while a body stalls."""

    def app(environ, start_response):
        size = 0
        while chunk := environ["wsgi.input"].read(1 << 20):
            size += len(chunk)
        name = os.environ["PENSTOCK_ROLE"]
        start_response("200 OK", [("Content-Type", "text/plain")])
        target = environ["PATH_INFO"] + (f"?{environ['QUERY_STRING']}" if environ.get("QUERY_STRING") else "")
        return [f"{name} {os.getpid()} {size} {environ.get('HTTP_HOST')} {target}".encode()]

    return app


def work(ports: Ports) -> list[Role]:
    host = (sys.executable, "-m", "workers.http_host", "--target", f"{HERE}:create_app", "--uds")
    me = (sys.executable, "-m", HERE)
    shape = {"PYTHONPATH": str(ROOT)}
    stubborn = os.environ.get("STANDIN_STUBBORN", "")
    return [
        Role(name="api", argv=(*host, front.API_SOCKET), environment=shape),
        Role(name="live", argv=(*host, front.LIVE_SOCKET), environment=shape | {"PENSTOCK_API__WORKERS": "1"}),
        Role(name="control", argv=(*me, "crash" if os.environ.get("STANDIN_CRASH") else "sleep"), environment=shape),
        Role(name="beat", argv=(*me, "stubborn" if stubborn else "sleep"), environment=shape),
        Role(name="node", argv=(*me, "node"), environment=shape),
    ]


def node() -> None:
    """Like the real one: a worker below it, that dies with it."""
    env = {**os.environ, "PENSTOCK_ROLE": "worker"}
    worker = subprocess.Popen([sys.executable, "-m", HERE, "sleep"], env=env, preexec_fn=lifeline.preexec())
    signal.signal(signal.SIGTERM, lambda *_: (worker.terminate(), worker.wait(), os._exit(0)))
    time.sleep(3600)


def main() -> int:
    match sys.argv[1]:
        case "sleep":
            time.sleep(3600)
        case "stubborn":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            time.sleep(3600)
        case "crash":
            sys.exit("the stand-in cannot find its spanner")
        case "node":
            node()
        case _:
            asked = parser().parse_args(sys.argv[1:])
            return up.run(
                settings_of(asked, os.environ),
                environ=os.environ,
                print_json=asked.print_json,
                work=work,
                migrate=(sys.executable, "-c", ""),
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
