"""Health check of a container: exits with 0 when all is well, else with 1 and a line that says what is not.

    health.py http://127.0.0.1:8000/healthz             answers 200
    health.py http://api:8000/readyz control            this part of the answer is ok, whatever the others are
    health.py 'file:///data/run/beat-schedule*' 700     such a file was written in the last 700 s

Only the standard library, and little of it: it runs every few seconds in every container.
"""

import glob
import http.client
import json
import sys
import time
from pathlib import Path


def main(url: str, wanted: str = "") -> int:
    """The exit code."""
    scheme, _, rest = url.partition("://")
    trouble = written(rest, float(wanted)) if scheme == "file" else answers(rest, wanted)
    if trouble:
        print(trouble)
    return 1 if trouble else 0


def written(pattern: str, limit_s: float) -> str:
    newest = max((Path(name).stat().st_mtime for name in glob.glob(pattern)), default=0.0)  # noqa: PTH207 - absolute
    age_s = time.time() - newest
    return "" if age_s < limit_s else f"last written {age_s:.0f} s ago"


def answers(address: str, part: str) -> str:
    host, _, path = address.partition("/")
    connection = http.client.HTTPConnection(host, timeout=4)
    try:
        connection.request("GET", f"/{path}")
        response = connection.getresponse()
        body = response.read()
    except OSError as error:
        return f"no answer: {error}"
    if not part:
        return "" if response.status == 200 else f"status {response.status}"
    answer = json.loads(body)
    parts = answer.get("parts") or answer["details"]["parts"]  # a 503 has them in its details
    return "" if parts[part] == "ok" else str(parts[part])


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
