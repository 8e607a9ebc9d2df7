"""End to end, every part real: load, an alert, Alertmanager, and a letter and a webhook that arrive."""

import http.server
import itertools
import json
import re
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from aiosmtpd.controller import Controller
from standardwebhooks.webhooks import Webhook

from tests.integration.test_monitoring import RULES, ask, panels
from tests.services import IS_CI, Process, answers, free_port, wait_for
from tests.system import BASE, System

ROOT = Path(__file__).parents[2]
RECORDING = ROOT / "benchmarks/data/devices-synthetic.jsonl"
RAISES = 555.0
READY = b"GET /-/ready HTTP/1.0\r\n\r\n"
NEVER_HERE = re.compile(r"penstock_(express|evictions|fenced)")
"""Figures of what does not happen in this test: nobody predicts, is evicted or stands still."""

pytestmark = [pytest.mark.long, pytest.mark.e2e, pytest.mark.slow]


def program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        (pytest.fail if IS_CI else pytest.skip)(f"no {name} here; Debian has a package of that name")
    return str(found)


class Inbox:
    """What came by mail and by webhook."""

    def __init__(self) -> None:
        self.letters: list[str] = []
        self.hooks: list[tuple[dict[str, str], bytes]] = []
        inbox = self

        class Hook(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                inbox.hooks.append((dict(self.headers), body))
                self.send_response(200)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hook)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.hook_url = f"http://127.0.0.1:{self._server.server_address[1]}/hook"
        self.smtp_port = free_port()
        self._smtp = Controller(self, hostname="127.0.0.1", port=self.smtp_port)
        self._smtp.start()

    async def handle_DATA(self, server: object, session: object, envelope: object) -> str:
        self.letters.append(envelope.content.decode())  # type: ignore[attr-defined]
        return "250 OK"

    def bodies(self, **wanted: object) -> list[dict[str, object]]:
        found = [json.loads(body) for _, body in self.hooks]
        return [one for one in found if all(one.get(name) == value for name, value in wanted.items())]

    def close(self) -> None:
        self._smtp.stop()
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    made = Inbox()
    yield made
    made.close()


@pytest.fixture
def system(tmp_path: Path, inbox: Inbox) -> Iterator[System]:
    made = System(
        tmp_path / "system",
        ALERTS__EVERY_S="0.5",
        ALERTS__SMTP_HOST="127.0.0.1",
        ALERTS__SMTP_PORT=inbox.smtp_port,
        ALERTS__SMTP_SECURITY="none",
        RESOURCES__REPLAY=RECORDING,
        COSTS__SAMPLE_S=1,
    ).start()
    yield made
    made.stop()


@pytest.fixture
def watched(tmp_path: Path, inbox: Inbox, system: System) -> Iterator[str]:
    """A Prometheus that scrapes the system, with our rules, and an Alertmanager with our routes; its URL."""
    manager_port, port = free_port(), free_port()
    folder = tmp_path / "watch"
    folder.mkdir()
    (folder / "rules.yml").write_text(re.sub(r"for: \w+", "for: 1s", RULES.read_text()))
    (folder / "alertmanager.yml").write_text(routes(inbox))
    target = lambda url: [{"targets": [url.split("/")[2]]}]  # noqa: E731
    config = {
        "global": {"scrape_interval": "500ms", "evaluation_interval": "500ms"},
        "rule_files": [str(folder / "rules.yml")],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": [f"127.0.0.1:{manager_port}"]}]}]},
        "scrape_configs": [
            {"job_name": "penstock-api", "static_configs": target(system.url + "/")},
            {"job_name": "penstock-node", "static_configs": target(system.workers_url)},
        ],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    manager = Process(
        [
            program("prometheus-alertmanager"),
            f"--config.file={folder}/alertmanager.yml",
            f"--storage.path={folder}/alerts",
            f"--web.listen-address=127.0.0.1:{manager_port}",
            "--cluster.listen-address=",
        ],
        folder / "manager",
    )
    prometheus = Process(
        [
            program("prometheus"),
            f"--config.file={folder}/prometheus.yml",
            f"--storage.tsdb.path={folder}/data",
            f"--web.listen-address=127.0.0.1:{port}",
        ],
        folder / "prometheus",
    )
    manager.start()
    prometheus.start()
    try:
        for each in (manager_port, port):
            wait_for(lambda each=each: answers(each, say=READY, expect=b" 200 "), timeout_s=20, what="ready")
        yield f"http://127.0.0.1:{port}"
    finally:
        prometheus.stop()
        manager.stop()


def routes(inbox: Inbox) -> str:
    """The configuration that is shipped, with the addresses of this test and no patience."""
    text = (ROOT / "deploy/alertmanager/alertmanager.yml").read_text()
    text = text.replace("https://hooks.example.org/penstock", inbox.hook_url)
    text = text.replace("smtp.example.org:587", f"127.0.0.1:{inbox.smtp_port}\n  smtp_require_tls: false")
    return re.sub(r"group_(wait|interval): \w+", r"group_\1: 1s", text)


@pytest.fixture
def load(system: System) -> Iterator[str]:
    """A service that is scaled to two instances, holds a device and has a budget; a tenth of its work fails. Its id."""
    config = {
        "resource_requirements": {"gpu": 1},
        "auto_scaling": {"enabled": True, "min_replicas": 1, "max_replicas": 1, "min_instances": 2, "max_instances": 2},
        "max_attempts": 1,
    }
    service_id = system.run("raise", config=config)
    system.ask("PUT", f"{BASE}/budgets", {"service_id": service_id, "soft": 1e-9, "hard": 1e6})
    stopping = threading.Event()

    def work() -> None:
        for count in itertools.count():
            if stopping.wait(0.2):
                return
            system.submit_many(service_id, [RAISES if count % 2 else 1.0, *[1.0] * 4])

    worker = threading.Thread(target=work)
    worker.start()
    yield service_id
    stopping.set()
    worker.join()


@pytest.mark.timeout(300)
def test_load_becomes_an_alert_and_the_alert_a_letter_and_a_webhook(
    system: System, inbox: Inbox, watched: str, load: str
) -> None:
    rule = {
        "name": "too many fail", "metric": "error_ratio", "threshold": 0.05, "for_s": 1, "window_s": 10,
        "severity": "critical", "service_id": load,
        "actions": [{"kind": "webhook", "url": inbox.hook_url}, {"kind": "email", "to": ["ops@example.org"]}],
    }  # fmt: skip
    rule_id = system.ask("POST", f"{BASE}/alerts/rules", rule, expect=201)["rule_id"]

    wait_for(lambda: inbox.bodies(type="alert.fired"), timeout_s=40, what="our webhook")
    wait_for(lambda: [one for one in inbox.letters if "too many fail" in one], timeout_s=20, what="our letter")
    wait_for(lambda: "PenstockJobsFail" in managed(inbox), timeout_s=60, what="Alertmanager's webhook")
    wait_for(lambda: [one for one in inbox.letters if "PenstockOwnAlerts" in one], timeout_s=40, what="its letter")
    wait_for(lambda: not empty(watched), timeout_s=60, every_s=1.0, what="data in each panel")

    (headers, body) = next((h, b) for h, b in inbox.hooks if b'"alert.fired"' in b)
    (secret, *_) = system.ask("GET", f"{BASE}/webhooks/secret")["secrets"]
    told = Webhook(secret).verify(body, {name.lower(): value for name, value in headers.items()})
    assert (told["data"]["rule_id"], told["data"]["service_id"]) == (rule_id, load)
    tried = system.ask("POST", f"{BASE}/alerts/rules/{rule_id}/test", {})
    assert tried["would_fire"] is True
    system.ask("DELETE", f"{BASE}/alerts/rules/{rule_id}", expect=204)
    (alert,) = wait_for(lambda: resolved(system, load), timeout_s=20, what="the end of it")  # type: ignore[misc]
    assert alert["actions"][0]["state"] == "done"


def managed(inbox: Inbox) -> set[str]:
    """The names of the alerts that Alertmanager has told of."""
    return {
        one["labels"]["alertname"]
        for body in inbox.bodies(version="4")
        for one in body["alerts"]  # type: ignore[attr-defined]
    }


def resolved(system: System, service_id: str) -> list[dict[str, object]]:
    found = system.ask("GET", f"{BASE}/alerts", params={"state": "resolved", "service_id": service_id})["alerts"]
    return [one for one in found if one["name"] == "too many fail"]


def empty(prometheus: str) -> list[str]:
    """Queries of panels that gave nothing, of those whose subject is there."""
    asked = [(title, text) for title, text in panels() if not NEVER_HERE.search(text) and "penstock_gpu" not in text]
    asked += [
        (title, text.replace("penstock_gpu_", "penstock_device_"))
        for title, text in panels()
        if re.match(r"\(?penstock_gpu_\w+ or |.*penstock_gpu_\w+ or ", text)
    ]
    return [title for title, text in asked if not ask(prometheus, "/api/v1/query", query=text)["result"]]
