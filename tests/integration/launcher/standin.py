"""Stand-in parts for tests of the launcher: the real front, broker, API server and supervision, a toy behind them."""

import base64
import json
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
LOGINS = {
    "Basic " + base64.b64encode(f"me:{password}".encode()).decode(): line
    for password, line in (("good", "204 Yes"), ("low", "403 No"), ("often", "429 Later"), ("ill", "503 Ill"))
}


def create_app():
    """Echoes who answered, the path and the size of the body. `POST /slow` would block a thread while a body stalls.

    `/headers` echoes what came with the request; the front's question about Flower is answered by the password.
    """

    def app(environ, start_response):
        size = 0
        while chunk := environ["wsgi.input"].read(1 << 20):
            size += len(chunk)
        if environ["PATH_INFO"] == "/internal/flower-login":
            line = LOGINS.get(environ.get("HTTP_AUTHORIZATION", ""), "401 Who")
            asked = environ.get("HTTP_X_ORIGINAL_METHOD", "")
            start_response(line, [("WWW-Authenticate", 'Basic realm="penstock"'), ("Retry-After", "7")])
            return [asked.encode()]
        if environ["PATH_INFO"] in ("/headers", "/flower/headers"):
            start_response("200 OK", [("Content-Type", "application/json")])
            return [json.dumps({name: text for name, text in environ.items() if name.startswith("HTTP_")}).encode()]
        name = os.environ["PENSTOCK_ROLE"]
        start_response("200 OK", [("Content-Type", "text/plain")])
        target = environ["PATH_INFO"] + (f"?{environ['QUERY_STRING']}" if environ.get("QUERY_STRING") else "")
        return [f"{name} {os.getpid()} {size} {environ.get('HTTP_HOST')} {target}".encode()]

    return app


def work(ports: Ports, live_processes: int = 1) -> list[Role]:
    host = (sys.executable, "-m", "workers.http_host", "--target", f"{HERE}:create_app", "--uds")
    me = (sys.executable, "-m", HERE)
    shape = {"PYTHONPATH": str(ROOT)}
    stubborn = os.environ.get("STANDIN_STUBBORN", "")
    return [
        Role(name="api", argv=(*host, front.API_SOCKET), environment=shape | {"PENSTOCK_API__WORKERS": "2"}),
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
                flower=asked.flower,
                print_json=asked.print_json,
                work=work,
                migrate=(sys.executable, "-c", ""),
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
