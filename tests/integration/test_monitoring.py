"""What is shipped for Prometheus and Grafana, on a real Prometheus: it loads, it alerts, every panel shows data."""

import http.server
import json
import re
import shutil
import subprocess
import threading
import urllib.parse
import urllib.request
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from inference.jobs.model import JobState
from inference.resources import metrics as device_metrics
from inference.resources.metrics import DeviceCollector
from inference.resources.model import Device, DeviceState, Figures, HostReading, Source
from inference.serving.model import Observed
from inference.telemetry import machine, metrics
from tests.services import Process, answers, free_port, wait_for

DEPLOY = Path(__file__).parents[2] / "deploy"
DASHBOARDS = {file.stem: json.loads(file.read_text()) for file in (DEPLOY / "grafana/dashboards").glob("*.json")}
RULES = DEPLOY / "prometheus/rules/penstock.yml"
SERVICE = "01a1"


def panels() -> Iterator[tuple[str, str]]:
    """(dashboard and panel, PromQL) with the dashboard's variables filled in."""
    for name, dashboard in DASHBOARDS.items():
        for panel in dashboard["panels"]:
            for target in panel.get("targets", ()):
                text = target["expr"].replace("$__rate_interval", "10s").replace("$service", ".*")
                yield f"{name}: {panel['title']}", text


def declared() -> set[str]:
    """The names of all our series, as Prometheus stores them."""
    of_devices = {
        name for source in (Source.NVML, Source.REPLAY) for name, _, _ in device_metrics.samples(a_card(source))
    }
    names = {*metrics.READ_FROM_STORE, *machine.GAUGES, f"{machine.CPU_SECONDS}_total", *of_devices}
    for metric in vars(metrics).values():
        if isinstance(metric, Counter):
            names.add(f"{metric._name}_total")
        elif isinstance(metric, Gauge):
            names.add(metric._name)
        elif isinstance(metric, Histogram):
            names.update(f"{metric._name}_{end}" for end in ("bucket", "count", "sum"))
    return names


def used(expressions: Iterable[str]) -> set[str]:
    return {name for text in expressions for name in re.findall(r"\bpenstock[_:][\w:]+", text)}


def rule_expressions() -> list[str]:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return [rule["expr"] for group in groups for rule in group["rules"]]


def recorded() -> set[str]:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return {rule["record"] for group in groups for rule in group["rules"] if "record" in rule}


def test_panels_and_alerts_use_only_metrics_that_we_have() -> None:
    asked = used(text for _, text in panels())
    alerted = used(rule_expressions())

    assert len(asked) > 15
    assert asked - declared() - recorded() == set()
    assert alerted - declared() - recorded() == set()


def test_states_named_in_panels_and_alerts_exist() -> None:
    words = {state.value for state in (*JobState, *Observed, *DeviceState)}
    texts = [*(text for _, text in panels()), *rule_expressions()]

    named = {word for text in texts for group in re.findall(r'state=~?"([^"]+)"', text) for word in group.split("|")}

    assert {"completed", "failed", "dead", "ready"} <= named
    assert named - words == set()


@pytest.mark.parametrize("dashboard", DASHBOARDS.values(), ids=DASHBOARDS.keys())
def test_no_panel_lies_upon_another(dashboard: dict[str, Any]) -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24, panel["title"]
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert taken.setdefault((x, y), panel["title"]) == panel["title"]


@pytest.mark.parametrize("dashboard", DASHBOARDS.values(), ids=DASHBOARDS.keys())
def test_the_dashboard_finds_its_data_source(dashboard: dict[str, Any]) -> None:
    source = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/prometheus.yml").read_text())["datasources"][0]
    asked = {panel["datasource"]["uid"] for panel in dashboard["panels"] if "datasource" in panel}

    assert asked == {source["uid"]}
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    assert len({each["uid"] for each in DASHBOARDS.values()}) == len(DASHBOARDS) == 5


def promtool(*arguments: str | Path) -> None:
    if shutil.which("promtool") is None:
        pytest.skip("no promtool here; Debian's package prometheus has it")
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_accepts_the_configuration_and_the_rules(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("in place of the container's secret")
    folder = tmp_path / "prometheus"
    shutil.copytree(DEPLOY / "prometheus", folder)
    config = folder / "prometheus.yml"
    config.write_text(config.read_text().replace("/run/secrets/metrics_key", str(key)))

    promtool("check", "config", config)
    promtool("check", "rules", RULES)


def test_the_alerts_fire_when_they_should() -> None:
    promtool("test", "rules", DEPLOY / "prometheus/rules_test.yml")


def a_card(source: Source = Source.NVML) -> HostReading:
    """Where the machine has none: the figures go through the real naming."""
    figures = Figures(memory_used_bytes=8, utilisation_percent=50.0, temperature_c=40.0, power_w=300.0)
    card = Device(index=0, uuid="GPU-1", name="card", memory_bytes=80, source=source, figures=figures)
    return HostReading(devices=(card,), source=source, at=0.0)


def store_samples() -> metrics.Samples:
    yield "penstock_jobs", (SERVICE, "completed"), 5.0
    yield "penstock_queue_depth", (SERVICE, "3"), 7.0
    yield "penstock_queue_oldest_seconds", (SERVICE, "3"), 2.5
    yield "penstock_express_waiting", (SERVICE,), 2.0
    yield "penstock_replicas", (SERVICE, "ready"), 1.0
    yield "penstock_service_up", (SERVICE,), 1.0
    yield "penstock_alerts", (SERVICE, "slow", "critical"), 1.0
    yield "penstock_cost_per_hour", (SERVICE,), 0.5
    yield "penstock_budget_used", ("default", SERVICE), 0.5
    yield "penstock_service_latency_recent_seconds", (SERVICE, "0.95"), 0.5


LABELS = {
    "service": SERVICE,
    "state": "completed",
    "route": "tasks",
    "status": "202",
    "result": "completed",
    "direction": "out",
}


def work_a_little() -> None:
    """One step of everything that is counted or timed."""
    for metric in vars(metrics).values():
        if isinstance(metric, Counter | Gauge | Histogram):
            child = (
                metric.labels(*(LABELS.get(name, name) for name in metric._labelnames))
                if metric._labelnames
                else metric
            )
            if isinstance(child, Gauge):
                child.set(1)
            else:
                child.inc() if isinstance(child, Counter) else child.observe(0.02)


class Exporter(http.server.BaseHTTPRequestHandler):
    """Our own metrics in the text form of our own code, with a little more work done at each scrape."""

    def do_GET(self) -> None:
        work_a_little()
        others = CollectorRegistry()
        others.register(metrics.StoreCollector(store_samples))
        others.register(machine.MachineCollector())
        others.register(DeviceCollector(a_card))
        body = generate_latest(REGISTRY) + generate_latest(others)
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        pass


@pytest.fixture
def prometheus(tmp_path: Path) -> Iterator[str]:
    """A real Prometheus that scrapes our metrics twice a second and has our rules; its URL."""
    binary = shutil.which("prometheus")
    if binary is None:
        pytest.skip("no prometheus here; Debian has a package of that name")
    exporter = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Exporter)
    threading.Thread(target=exporter.serve_forever, daemon=True).start()
    port = free_port()
    config = {
        "global": {"scrape_interval": "500ms", "evaluation_interval": "500ms"},
        "rule_files": [str(RULES)],
        "scrape_configs": [
            {"job_name": name, "static_configs": [{"targets": [f"127.0.0.1:{exporter.server_address[1]}"]}]}
            for name in ("penstock-api", "penstock-node")
        ],
    }
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
    command = [
        binary,
        f"--config.file={tmp_path}/prometheus.yml",
        f"--storage.tsdb.path={tmp_path}/data",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    server = Process(command, tmp_path)
    server.start()
    try:
        ready = b"GET /-/ready HTTP/1.0\r\n\r\n"
        wait_for(lambda: answers(port, say=ready, expect=b" 200 "), timeout_s=20, what="prometheus is ready")
        yield f"http://127.0.0.1:{port}"
    finally:
        server.stop()
        exporter.shutdown()
        exporter.server_close()


def ask(url: str, path: str, **query: str) -> Any:
    with urllib.request.urlopen(f"{url}{path}?{urllib.parse.urlencode(query)}", timeout=10) as response:
        answer = json.load(response)
    assert answer["status"] == "success"
    return answer["data"]


def test_every_panel_of_every_dashboard_shows_something_when_the_system_works(prometheus: str) -> None:
    def empty() -> list[str]:
        found = ((title, ask(prometheus, "/api/v1/query", query=text)["result"]) for title, text in panels())
        return [title for title, result in found if not any(sample["value"][1] != "NaN" for sample in result)]

    wait_for(lambda: not empty(), timeout_s=20, every_s=0.5, what="every panel has data")

    depth = ask(prometheus, "/api/v1/query", query="sum by (priority) (penstock_queue_depth)")["result"]
    assert [(sample["metric"], sample["value"][1]) for sample in depth] == [({"priority": "3"}, "14")]
    rules = [rule for group in ask(prometheus, "/api/v1/rules")["groups"] for rule in group["rules"]]
    assert len(rules) == len(rule_expressions())
    assert [(rule["name"], rule.get("lastError")) for rule in rules if rule["health"] != "ok"] == []
