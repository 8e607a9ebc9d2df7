"""Inputs from elsewhere: real servers that answer, drip, redirect and lie, and a real bucket."""

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from inference.blobs.fetch import InputFetch
from inference.errors import InputRefused, InputUnreachable, TooLarge, TooManyWaiting
from inference.ids import new_id
from inference.settings import BlobsSettings, InputsSettings


class Answers(BaseHTTPRequestHandler):
    is_over = threading.Event()

    def do_GET(self) -> None:
        if self.path == "/large":
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"x" * 2000)
        elif self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/good")
            self.end_headers()
        elif self.path == "/drip":
            self.send_response(200)
            self.end_headers()
            while not self.is_over.wait(0.02):
                try:
                    self.wfile.write(b"x")
                except OSError:
                    return
        elif self.path == "/good?a=1":
            self.send_response(200)
            self.end_headers()
            self.wfile.write(f"{self.headers['Host']}".encode())
        else:
            self.send_error(404)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port
    Answers.is_over.set()
    server.shutdown()
    server.server_close()
    thread.join()


def fetch_of(**changes) -> InputFetch:
    def resolve(host, port):
        return ["127.0.0.1"]

    return InputFetch(InputsSettings(fetch_timeout_s=0.5, **changes), BlobsSettings(), resolve=resolve)


def get(fetch, url, *, is_open=True):
    return fetch(url, is_open=is_open, limit_bytes=1000)


def test_a_url_is_read_by_its_name_at_the_address_that_was_checked(port):
    assert get(fetch_of(), f"http://data.example:{port}/good?a=1") == f"data.example:{port}".encode()


@pytest.mark.parametrize(
    ("path", "error", "why"),
    [
        ("/none", InputUnreachable, "answered 404"),
        ("/moved", InputUnreachable, "answered 302"),
        ("/large", TooLarge, "1000 bytes"),
        ("/drip", InputUnreachable, "could not be fetched"),
    ],
)
def test_what_cannot_be_had_is_told(port, path, error, why):
    with pytest.raises(error, match=why):
        get(fetch_of(), f"http://data.example:{port}{path}")


def test_nobody_reaches_our_own_network_through_it(port):
    fetch = fetch_of()

    for url in (f"http://data.example:{port}/good?a=1", f"http://127.0.0.1:{port}/", "http://169.254.169.254/latest"):
        with pytest.raises(InputRefused, match="input_ref is refused"):
            get(fetch, url, is_open=False)
    assert get(fetch_of(allowed_networks="127.0.0.0/8"), f"http://d:{port}/good?a=1", is_open=False)


def test_only_so_many_are_fetched_at_once(port):
    fetch, url = fetch_of(fetches=1), f"http://data.example:{port}/drip"
    errors = []

    def drip():
        try:
            get(fetch, url)
        except InputUnreachable as error:
            errors.append(error)

    thread = threading.Thread(target=drip)
    with fetch._turn(), pytest.raises(TooManyWaiting):
        get(fetch, url)
    thread.start()
    thread.join()
    assert len(errors) == 1


def test_nobody_listening_is_unreachable():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        with pytest.raises(InputUnreachable):
            get(fetch_of(), f"http://data.example:{probe.getsockname()[1]}/")


def test_an_object_of_an_allowed_bucket_is_read_and_no_other(s3):
    import obstore

    from inference.blobs.s3 import open_bucket

    place = BlobsSettings(s3_endpoint=s3.url, s3_access_key=s3.KEY, s3_secret_key=s3.SECRET)
    key = f"{new_id()}/some file.json"
    obstore.put(open_bucket(place, "tests"), key, b"x" * 100)
    fetch = InputFetch(InputsSettings(s3_buckets="tests, others"), place)

    assert get(fetch, f"s3://tests/{key}") == b"x" * 100
    for reference, error in (
        ("s3://secret/key", InputRefused),
        ("s3://tests", InputRefused),
        ("s3://tests/" + "k" * 1025, InputRefused),
        ("s3://tests/none", InputUnreachable),
    ):
        with pytest.raises(error):
            get(fetch, reference)
    with pytest.raises(TooLarge):
        fetch(f"s3://tests/{key}", is_open=True, limit_bytes=99)
