"""The real front with a certificate: what it speaks, what it says, and which files it does not start with."""

import json
import shutil
import socket
import ssl
import subprocess
import sys

import httpx
import pytest

from inference.errors import BadSettings
from inference.settings import FrontSettings
from tests import certificates
from tests.conftest import missing
from tests.integration.launcher.running import ROOT, STANDIN, until, up
from tests.services import Missing
from workers.launching import tls


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    try:
        return certificates.make(tmp_path_factory.mktemp("certificates"))
    except Missing as what:
        missing("openssl", what)


def settings_of(made) -> dict[str, str]:
    return {
        "PENSTOCK_FRONT__CERTIFICATE": str(made.certificate),
        "PENSTOCK_FRONT__CERTIFICATE_KEY": str(made.key),
    }


@pytest.fixture(scope="module")
def system(tmp_path_factory, made):
    with up(tmp_path_factory.mktemp("tls"), **settings_of(made)) as running:
        until(lambda: running.data_dir.joinpath("run/live.sock").exists(), 5)
        yield running


@pytest.fixture
def client(system, made):
    context = ssl.create_default_context(cafile=str(made.certificate))
    with httpx.Client(base_url=system.told["urls"]["api"], verify=context, timeout=5) as client:
        yield client


def handshake(port: int, context: ssl.SSLContext) -> ssl.SSLSocket:
    return context.wrap_socket(socket.create_connection(("127.0.0.1", port), timeout=5), server_hostname="localhost")


def test_the_front_speaks_https_and_every_url_of_it_says_so(system, client):
    answer = client.get("/headers")

    assert answer.status_code == 200
    assert answer.json()["HTTP_X_FORWARDED_PROTO"] == "https"
    assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"
    assert {system.told["urls"][name].split(":")[0] for name in ("api", "docs", "metrics")} == {"https"}


def test_it_speaks_new_protocols_only(system, made):
    context = ssl.create_default_context(cafile=str(made.certificate))
    context.set_alpn_protocols(["h2", "http/1.1"])

    with handshake(system.port, context) as connection:
        protocol, version, cipher = connection.selected_alpn_protocol(), connection.version(), connection.cipher()

    assert (protocol, version) == ("h2", "TLSv1.3")
    assert cipher is not None
    assert "GCM" in cipher[0] or "CHACHA20" in cipher[0]


def test_who_speaks_plain_http_is_told_in_one_sentence(system):
    status, body, headers = system.ask("GET", "/")

    assert (status, json.loads(body)["code"]) == (400, "bad_request")
    assert "https://" in json.loads(body)["message"]
    assert headers["X-Content-Type-Options"] == "nosniff"


def test_a_renewed_certificate_is_used_without_a_restart(tmp_path):
    first = certificates.make(tmp_path, "first")
    with up(tmp_path / "data", **settings_of(first)) as system:
        before = system.pid("front")
        second = certificates.make(tmp_path, "second")
        shutil.copy(second.key, first.key)
        shutil.copy(second.certificate, first.certificate)

        trusting_the_new = ssl.create_default_context(cafile=str(second.certificate))

        def is_used() -> bool:
            try:
                handshake(system.port, trusting_the_new).close()
            except ssl.SSLError:
                return False
            return True

        until(is_used, 20)
        assert system.pid("front") == before


def locked(folder, made):
    key = folder / "locked.key"
    subprocess.run(
        ["openssl", "pkcs8", "-topk8", "-in", str(made.key), "-out", str(key), "-passout", "pass:x"],
        check=True,
        capture_output=True,
    )
    return str(key)


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda made, folder: {"certificate_key": ""}, "CERTIFICATE_KEY is missing"),
        (lambda made, folder: {"certificate": ""}, "CERTIFICATE is missing"),
        (lambda made, folder: {"certificate": "/no/such.pem"}, "/no/such.pem, which cannot be read: No such file"),
        (lambda made, folder: {"certificate_key": str(folder)}, "which cannot be read: Is a directory"),
        (lambda made, folder: {"certificate": str(made.key)}, "holds no certificate in PEM form"),
        (lambda made, folder: {"certificate_key": str(made.certificate)}, "holds no private key in PEM form"),
        (lambda made, folder: {"certificate_key": str(certificates.make(folder, "other").key)}, "is not the key of"),
        (lambda made, folder: {"certificate_key": locked(folder, made)}, "is locked with a password"),
    ],
)
def test_files_that_cannot_be_used_are_refused_by_name(made, tmp_path, spoil, sentence):
    good = {"certificate": str(made.certificate), "certificate_key": str(made.key)}

    with pytest.raises(BadSettings) as refused:
        tls.check(FrontSettings(**{**good, **spoil(made, tmp_path)}))

    assert sentence in refused.value.message
    assert refused.value.message.startswith("PENSTOCK_FRONT__CERTIFICATE")


def test_damaged_files_are_refused_by_name(made, tmp_path):
    damaged = tmp_path / "damaged.pem"
    damaged.write_text(made.certificate.read_text().replace("MII", "AAA", 1))

    with pytest.raises(BadSettings, match=r"damaged\.pem, which OpenSSL does not take"):
        tls.check(FrontSettings(certificate=str(damaged), certificate_key=str(made.key)))


def test_with_a_bad_certificate_nothing_is_started(made, tmp_path):
    environ = settings_of(made) | {"PENSTOCK_FRONT__CERTIFICATE": str(tmp_path / "none.pem")}
    data_dir = tmp_path / "data"

    done = subprocess.run(
        [sys.executable, "-m", STANDIN, "up", "--port", "0", "--data-dir", str(data_dir)],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", **environ},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode != 0
    assert f"PENSTOCK_FRONT__CERTIFICATE names {tmp_path / 'none.pem'}, which cannot be read" in done.stderr
    assert not data_dir.exists()


def test_the_health_check_of_containers_speaks_https_too(system):
    check = [sys.executable, str(ROOT / "deploy" / "health.py")]

    well, ill = (
        subprocess.run(
            [*check, f"{scheme}://127.0.0.1:{system.port}/healthz"], capture_output=True, text=True, check=False
        )
        for scheme in ("https", "http")
    )

    assert (well.returncode, well.stdout) == (0, "")
    assert (ill.returncode, ill.stdout.strip()) == (1, "status 400")
