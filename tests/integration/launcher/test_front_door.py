"""The real front as a door: whose address it passes on, what it says of itself, and who gets to Flower."""

import base64
import json
import socket
import sys
from pathlib import Path

import httpx
import pytest

from api import headers
from inference.errors import BadSettings
from tests import services
from tests.integration.launcher.running import ROOT, STANDIN, until, up
from workers.launching import front

LIMIT = 10_000
OURS = [name for name, _ in headers.ANSWER]


@pytest.fixture(scope="module")
def system(tmp_path_factory):
    with up(tmp_path_factory.mktemp("door"), PENSTOCK_API__BODY_LIMIT_BYTES=str(LIMIT)) as running:
        until(lambda: running.who(), 5)
        yield running


@pytest.fixture(scope="module")
def behind_proxies(tmp_path_factory):
    with up(tmp_path_factory.mktemp("proxied"), PENSTOCK_FRONT__TRUSTED_PROXIES="127.0.0.0/8, 10.1.0.0/16") as running:
        until(lambda: running.who(), 5)
        yield running


def heard(system, **sent: str) -> dict[str, str]:
    _, body, _ = system.ask("GET", "/headers", **sent)
    return json.loads(body)


def raw(system, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", system.port), timeout=5) as connection:
        connection.sendall(request)
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
    return answer


def test_the_client_s_own_word_on_its_address_does_not_count(system):
    told = heard(system, X_Real_IP="6.6.6.6", X_Forwarded_For="6.6.6.6", X_Forwarded_Proto="https")

    assert told["HTTP_X_REAL_IP"] == told["HTTP_X_FORWARDED_FOR"] == "127.0.0.1"
    assert told["HTTP_X_FORWARDED_PROTO"] == "http"


def test_a_header_that_only_looks_like_the_front_s_is_dropped(system):
    answer = raw(system, b"GET /headers HTTP/1.1\r\nHost: a\r\nX_Real_IP: 6.6.6.6\r\nConnection: close\r\n\r\n")

    assert b"6.6.6.6" not in answer
    assert b'"HTTP_X_REAL_IP": "127.0.0.1"' in answer


@pytest.mark.parametrize(
    ("forwarded", "address"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("6.6.6.6, 192.0.2.7", "192.0.2.7"),
        ("6.6.6.6, 192.0.2.7, 10.1.2.3", "192.0.2.7"),
        ("2001:db8::7", "2001:db8::7"),
        ("nonsense", "127.0.0.1"),
    ],
)
def test_of_trusted_proxies_the_last_address_that_is_none_of_theirs_counts(behind_proxies, forwarded, address):
    told = heard(behind_proxies, X_Forwarded_For=forwarded, X_Forwarded_Proto="https")

    assert told["HTTP_X_REAL_IP"] == address
    assert told["HTTP_X_FORWARDED_PROTO"] == "https"


def test_networks_are_read_and_a_bad_one_is_named():
    assert front.networks(" 10.0.0.0/8,, 192.0.2.7 ,2001:db8::/32") == ["10.0.0.0/8", "192.0.2.7/32", "2001:db8::/32"]

    for bad in ("10.0.0.1/8", "proxy.example", "1.2.3.4;"):
        with pytest.raises(BadSettings, match=r"TRUSTED_PROXIES: .*; write networks like"):
            front.networks(f"10.0.0.0/8,{bad}")


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET / NONSENSE/7\r\nHost: a\r\n\r\n", b"400"),
        (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", b"431"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 30000\r\n\r\n" + b"x" * 30_000, b"413"),
        (b"GET /internal/flower-login HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", b"404"),
    ],
)
def test_what_the_front_says_itself_carries_every_header_once(system, request_, status):
    answer = raw(system, request_)

    head, _, body = answer.partition(b"\r\n\r\n")
    names = [line.split(b":")[0].decode() for line in head.split(b"\r\n")[1:]]
    assert head.split(b" ")[1] == status
    assert set(json.loads(body)) == {"code", "message", "details"}
    assert [name for name in OURS if names.count(name) != 1] == []
    assert "Strict-Transport-Security" not in names


def test_the_front_adds_nothing_to_what_the_api_says(system):
    _, _, found = system.ask("GET", "/")

    assert not {name.lower() for name in found} & {name.lower() for name in OURS}


@pytest.mark.parametrize(
    "path",
    ["/internal/flower-login", "/internal/", "/%69nternal/flower-login", "//internal/flower-login",
     "/x/../internal/flower-login", "/internal%2Fflower-login", "http://a/internal/flower-login"],
)  # fmt: skip
def test_what_the_front_asks_by_itself_cannot_be_asked_from_outside(system, path):
    answer = raw(system, f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())

    assert answer.startswith(b"HTTP/1.1 404 ")
    assert b'"route_not_found"' in answer


def test_without_flower_its_path_is_the_api_s(system):
    assert system.who("/flower/")[0] == "api"


@pytest.fixture(scope="module")
def with_flower(tmp_path_factory):
    with up(tmp_path_factory.mktemp("flower"), "--flower") as running:
        until(lambda: running.ask("GET", "/flower/healthcheck", **key("good"))[0] == 200, 30)
        yield running


def key(password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"me:{password}".encode()).decode()}


@pytest.mark.parametrize(
    ("sent", "status", "code"),
    [
        ({}, 401, "unauthenticated"),
        (key("wrong"), 401, "unauthenticated"),
        (key("low"), 403, "denied"),
        (key("often"), 429, "too_many_wrong_keys"),
        (key("ill"), 503, "unavailable"),
    ],
)
def test_flower_is_shown_to_those_only_whom_the_api_lets_in(with_flower, sent, status, code):
    for method in ("GET", "POST"):
        found, body, told = with_flower.ask(method, "/flower/api/workers", **sent)

        assert (found, json.loads(body)["code"]) == (status, code)
        named = {name.lower(): value for name, value in told.items()}
        assert (named.get("www-authenticate") == 'Basic realm="penstock"') == (status == 401)
        assert (named.get("retry-after") == "7") == (status in (429, 503))


def test_flower_s_pages_find_their_files_and_carry_our_headers(with_flower):
    status, body, told = with_flower.ask("GET", "/flower/", **key("good"))

    assert status == 200
    assert b"/flower/static/js/flower.js" in body
    assert with_flower.ask("GET", "/flower/static/js/flower.js", **key("good"))[0] == 200
    assert told["X-Frame-Options"] == "DENY"
    assert told["X-Content-Type-Options"] == "nosniff"
    assert "unsafe-inline'; img" not in told["Content-Security-Policy"].split("script-src")[1].split(";")[0]
    assert "Access-Control-Allow-Origin" not in told
    assert with_flower.ask("GET", "/flower")[2]["Location"] == "/flower/"


def test_flower_listens_on_a_socket_that_is_closed_to_others_and_on_no_port(with_flower):
    folder = with_flower.data_dir / "run" / "flower"

    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / "flower.sock").is_socket()
    assert listening(with_flower.pid("flower")) == []


@pytest.fixture
def containers(tmp_path, shared_valkey):
    """The front before a Flower with a login of its own, each on a port, as in compose; the API is a stand-in."""
    ports = {name: services.free_port() for name in ("front", "api", "flower")}
    common = {"PENSTOCK_DATA_DIR": str(tmp_path), "PENSTOCK_REDIS_URL": shared_valkey.url, "PYTHONPATH": str(ROOT)}
    python = (sys.executable, "-m")
    api, flower = (f"http://127.0.0.1:{ports[name]}" for name in ("api", "flower"))
    listen = f"127.0.0.1:{ports['front']}"
    started = [
        services.Process(list(command), tmp_path, environ={**common, **environ})
        for command, environ in (
            ((*python, "workers.http_host", "--target", f"{STANDIN}:create_app", "--host", "127.0.0.1", "--port",
              str(ports["api"])), {"PENSTOCK_ROLE": "api"}),
            ((*python, "celery", "-A", "workers.app", "flower", "--address=127.0.0.1", f"--port={ports['flower']}",
              "--url_prefix=flower", "--persistent=False"), {"FLOWER_BASIC_AUTH": "front:s3cret"}),
            ((*python, "workers.front", "--listen", listen, "--api", api, "--live", api, "--flower", flower),
             {"PENSTOCK_FRONT__FLOWER_LOGIN": "front:s3cret"}),
        )
    ]  # fmt: skip
    try:
        for process in started:
            process.start()
        yield f"http://{listen}", flower
    finally:
        for process in started:
            process.stop()


def test_in_containers_the_front_has_a_login_of_its_own_and_what_people_send_stays_with_it(containers):
    url, flower = containers
    entered = httpx.Client(base_url=url, headers=key("good"), timeout=20)
    services.wait_for(lambda: is_there(entered, "/flower/healthcheck"), timeout_s=40, what="front and Flower")

    through = entered.get("/flower/api/workers", headers=key("good")).status_code
    past = httpx.get(f"{flower}/flower/api/workers", headers=key("good")).status_code
    without = httpx.get(f"{url}/flower/api/workers").status_code
    entered.close()

    assert (through, past, without) == (200, 401, 401)


def test_flower_hears_no_key_in_whichever_header_it_came(tmp_path):
    ports = {name: services.free_port() for name in ("front", "api")}
    common = {"PENSTOCK_DATA_DIR": str(tmp_path), "PYTHONPATH": str(ROOT), "PENSTOCK_ROLE": "api"}
    api, listen = f"http://127.0.0.1:{ports['api']}", f"127.0.0.1:{ports['front']}"
    door = ("workers.front", "--listen", listen, "--api", api, "--live", api, "--flower", api)
    host = (
        "workers.http_host",
        "--target",
        f"{STANDIN}:create_app",
        "--host",
        "127.0.0.1",
        "--port",
        str(ports["api"]),
    )
    started = [services.Process([sys.executable, "-m", *command], tmp_path, common) for command in (host, door)]
    try:
        for process in started:
            process.start()
        with httpx.Client(base_url=f"http://{listen}", headers={**key("good"), "X-API-Key": "a secret"}) as client:
            services.wait_for(lambda: is_there(client, "/flower/headers"), timeout_s=20, what="front and stand-in")
            heard_of = client.get("/flower/headers").json()
    finally:
        for process in started:
            process.stop()

    assert {"HTTP_AUTHORIZATION", "HTTP_X_API_KEY"}.isdisjoint(heard_of)
    assert "HTTP_HOST" in heard_of


def is_there(client: httpx.Client, path: str) -> bool:
    try:
        return client.get(path).status_code == 200
    except httpx.TransportError:
        return False


def listening(pid: int) -> list[str]:
    """Local addresses of the TCP sockets on which this process listens."""
    own = {path.readlink().name for path in Path(f"/proc/{pid}/fd").iterdir() if path.is_symlink()}
    tables = [Path(f"/proc/{pid}/net/{name}").read_text().splitlines()[1:] for name in ("tcp", "tcp6")]
    rows = [line.split() for table in tables for line in table]
    return [row[1] for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in own]
