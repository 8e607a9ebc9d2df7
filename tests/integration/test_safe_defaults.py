"""A whole system behind its own certificate, with Flower: what it leaves, what its pages load, how to talk to it."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from api import headers
from tests import certificates
from tests.chromium import BINARY, Chromium
from tests.conftest import missing
from tests.services import Missing
from tests.system import ROOT, System, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> certificates.Certificate:
    try:
        return certificates.make(tmp_path_factory.mktemp("certificates"))
    except Missing as what:
        missing("openssl", what)
        raise


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory, made: certificates.Certificate) -> Iterator[System]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(made.certificate))
        started = System(
            tmp_path_factory.mktemp("safe"), FRONT__CERTIFICATE=made.certificate, FRONT__CERTIFICATE_KEY=made.key
        ).start("--flower")
        yield started
        started.stop()


@pytest.fixture(scope="module")
def service(system: System) -> str:
    return system.run("double")


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Chromium]:
    if BINARY is None:
        missing("Chromium", Missing("Chromium is not installed: apt-get install chromium"))
    opened = Chromium(tmp_path, "--ignore-certificate-errors")
    yield opened
    opened.close()


def core_limit(pid: int) -> list[str]:
    lines = Path(f"/proc/{pid}/limits").read_text().splitlines()
    return next(line for line in lines if line.startswith("Max core file size")).split()[4:6]


def test_no_process_may_leave_a_core_dump(system: System, service: str):
    pids = [system.launcher_pid, *system.everything()]

    limits = {pid: core_limit(pid) for pid in pids}

    assert service
    assert system.pids("engine")[0] in limits
    assert set(map(tuple, limits.values())) == {("0", "0")}


@pytest.mark.parametrize("path", ["/healthz", "/api/v1/inference/tasks/none?wait=0.1", "/nothing", "/flower/"])
def test_both_processes_flower_and_the_front_say_each_header_once(system: System, path: str):
    wait_for(lambda: httpx.get(f"{system.url}/flower/healthcheck").status_code == 200, timeout_s=30, what="Flower")

    found = [name for name, _ in system.http.get(path).headers.multi_items()]

    expected = {name.lower() for name, _ in headers.ANSWER if name != "Cache-Control"} | {"strict-transport-security"}
    assert [name for name in expected if found.count(name) != 1] == []


def test_the_address_of_a_new_service_is_https(system: System):
    body = {"name": "short", "model_path": str(system.model), "framework": "double"}

    shown = system.ask("POST", "/api/v1/inference/services", body, expect=201)

    assert shown["endpoint_url"] == f"{system.url}/api/v1/inference/services/{shown['service_id']}/tasks"
    assert shown["endpoint_url"].startswith("https://")


def test_the_documentation_works_in_a_browser_without_a_complaint_and_asks_nobody_else(
    system: System, browser: Chromium
):
    browser.open(f"{system.url}/docs/")
    browser.until("document.querySelectorAll('.opblock').length > 20")

    browser.ask("document.querySelector('[id$=get_api_v1_inference_services] .opblock-summary-control').click()")
    browser.until("!!document.querySelector('.try-out__btn')")
    browser.ask("document.querySelector('.try-out__btn').click()")
    browser.until("!!document.querySelector('.execute')")
    browser.ask("document.querySelector('.execute').click()")
    browser.until("(document.querySelector('.live-responses-table')?.innerText ?? '').includes('200')")

    assert browser.complaints == []
    assert {url.split("/")[2] for url in browser.requests if url.startswith("http")} == {system.url.split("/")[2]}


def test_flower_s_pages_work_in_a_browser_without_a_complaint(system: System, service: str, browser: Chromium):
    task = system.submit(service)
    system.until_done(service, timeout_s=30)
    worker = f"worker/{next(iter(httpx.get(f'{system.flower_url}api/workers?refresh=1', timeout=20).json()))}"

    shown = {}
    for page, sign in (
        ("", "document.querySelectorAll('#workers-table tbody tr').length > 0"),
        ("tasks", f"document.body.innerText.includes('{task}')"),
        (f"task/{task}", f"document.body.innerText.includes('{task}')"),
        (worker, "document.readyState === 'complete' && document.querySelectorAll('table').length > 0"),
        ("broker", "document.body.innerText.includes('redis://')"),
    ):
        browser.open(f"{system.flower_url}{page}")
        browser.until(f"location.pathname === '/flower/{page}' && {sign}")
        shown[page] = list(browser.complaints)

    assert shown == {page: [] for page in shown}


def test_a_page_of_another_site_cannot_make_flower_do_anything(system: System):
    url = f"{system.flower_url}api/worker/shutdown/none"

    own = httpx.post(url, headers={"Sec-Fetch-Site": "same-origin"}, timeout=20).status_code
    other = httpx.post(url, headers={"Sec-Fetch-Site": "cross-site"}, timeout=20).status_code

    assert (own, other) == (404, 403)


def test_the_command_line_trusts_what_it_is_told_to_trust_and_nothing_else(
    system: System, made: certificates.Certificate
):
    def ask(**environ: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "api.cli.main", "service", "list", "--data-dir", str(system.data)],
            cwd=ROOT,
            env={"PATH": "/usr/bin:/bin", **environ},
            capture_output=True,
            text=True,
            check=False,
        )

    trusting, doubting = ask(SSL_CERT_FILE=str(made.certificate)), ask()

    assert trusting.returncode == 0, trusting.stderr
    assert doubting.returncode != 0
    assert "is not trusted: SSL_CERT_FILE may name" in doubting.stderr
