"""Asks the stack's Prometheus and Flower what they saw of the jobs.

check_watchers.py waiting PROMETHEUS N             N jobs wait
check_watchers.py all PROMETHEUS FLOWER            every panel of the dashboard, but those of the GPU, had more than 0
                                                   to show in the last minutes; Flower asks for a key

The API key is in PENSTOCK_API_KEY.
"""

import base64
import json
import math
import os
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

DASHBOARD = Path(__file__).resolve().parents[1] / "grafana" / "dashboards" / "penstock.json"
PATIENCE_S = 30
WITHOUT_CARD = "penstock_gpu"
ZERO_IS_WELL = ("failed|dead", "penstock_fenced", "penstock_empty_claims", "penstock_express_waiting")


def main(command: str, prometheus: str, *arguments: str) -> None:
    if command == "waiting":
        query = "sum(penstock_queue_depth)"
        wait_for(f"{arguments[0]} jobs wait", lambda: value(prometheus, query) == float(arguments[0]))
        say(f"Prometheus: {arguments[0]} jobs wait")
    else:
        check_all(prometheus, *arguments)


def check_all(prometheus: str, flower: str) -> None:
    wait_for("every target is scraped", lambda: are_up(prometheus))
    empty: list[str] = []
    wait_for("every panel has data", lambda: not refill(empty, without_data(prometheus)), lambda: ", ".join(empty))
    firing = [alert["labels"]["alertname"] for alert in ask(prometheus, "/api/v1/alerts")["alerts"] if is_firing(alert)]
    say(f"Prometheus: every target up, every panel has data, alerts firing: {', '.join(firing) or 'none'}")
    check_flower(flower, os.environ.get("PENSTOCK_API_KEY", ""))


def are_up(prometheus: str) -> bool:
    targets = ask(prometheus, "/api/v1/targets")["activeTargets"]
    jobs = {target["labels"]["job"] for target in targets if target["health"] == "up"}
    return jobs == {"penstock-api", "penstock-node", "flower", "prometheus"}


def is_firing(alert: dict[str, Any]) -> bool:
    return bool(alert["state"] == "firing")  # else it is pending


def without_data(prometheus: str) -> Iterator[str]:
    """Panels with a query that had nothing, or nothing but 0, in the last minutes."""
    for title, expression in expressions():
        most = value(prometheus, f"max(max_over_time(({expression})[3m:1s]))")
        may_be_zero = any(name in expression for name in ZERO_IS_WELL)
        if WITHOUT_CARD not in expression and (most is None or (most == 0 and not may_be_zero)):
            yield title


def value(prometheus: str, query: str) -> float | None:
    """Of the one series that the query gives; None when there is none, or it is not a number."""
    result = ask(prometheus, "/api/v1/query", query=query)["result"]
    number = float(result[0]["value"][1]) if result else math.nan
    return None if math.isnan(number) else number


def expressions() -> Iterator[tuple[str, str]]:
    """(panel title, PromQL) with the dashboard's variables filled in."""
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"].replace("$__rate_interval", "1m").replace("$service", ".*")


def check_flower(flower: str, key: str) -> None:
    try:
        urllib.request.urlopen(f"{flower}/", timeout=10)
        sys.exit("Flower lets everybody in")
    except urllib.error.HTTPError as error:
        if error.code != 401:
            raise
    login = base64.b64encode(f"anybody:{key}".encode()).decode()
    workers = fetch(f"{flower}/api/workers?refresh=1", Authorization=f"Basic {login}")
    tasks = fetch(f"{flower}/api/tasks?limit=500", Authorization=f"Basic {login}")
    kinds = sorted({task["name"] for task in tasks.values() if task["name"]})
    say(f"Flower: workers {', '.join(sorted(workers))}; tasks {', '.join(kinds)} ({len(tasks)} seen)")
    if not any("penstock" in kind for kind in kinds):
        sys.exit("Flower saw no task")


def ask(prometheus: str, path: str, **query: str) -> Any:
    return fetch(f"{prometheus}{path}?{urllib.parse.urlencode(query)}")["data"]


def fetch(url: str, **headers: str) -> Any:
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=15) as response:
        return json.load(response)


def refill(items: list[str], found: Iterator[str]) -> list[str]:
    items[:] = found
    return items


def wait_for(what: str, is_done: Any, missing: Any = lambda: "") -> None:
    end = time.monotonic() + PATIENCE_S
    while not is_done():
        if time.monotonic() > end:
            sys.exit(f"not within {PATIENCE_S} s: {what} {missing()}")
        time.sleep(1)


def say(text: str) -> None:
    print(f"== {text}", file=sys.stderr)


if __name__ == "__main__":
    main(*sys.argv[1:])
