"""The front's configuration: one template for `penstock up` and for containers."""

import pytest

from inference.errors import BadSettings
from workers.front import address, name_server
from workers.launching.front import live_sockets, render


def test_up_reaches_its_processes_through_sockets_and_needs_no_name_server() -> None:
    config = render(listen="127.0.0.1:8080", body_limit_bytes=1000)

    assert "upstream api { server unix:run/api.sock; " in config
    assert "upstream live { server unix:run/live.sock; " in config
    assert "resolver" not in config
    assert "@" not in config.replace("@bad_request", "").replace("@timeout", "").replace("@too_large", "").replace(
        "@headers", ""
    ).replace("@unavailable", "").replace("@busy", "")


def test_containers_are_looked_up_again_while_the_front_runs() -> None:
    config = render(listen="0.0.0.0:8080", body_limit_bytes=1000, api="api:8000", live="live:8001", dns="127.0.0.11")

    assert "resolver 127.0.0.11 valid=5s ipv6=off;" in config
    assert "upstream api { zone api 64k; server api:8000 resolve; " in config
    assert "upstream live { zone live 64k; server live:8001 resolve; " in config


def test_a_part_that_does_not_answer_is_a_503_and_not_a_502() -> None:
    config = render(listen="127.0.0.1:8080", body_limit_bytes=1000)

    assert "error_page 502 504 = @unavailable;" in config


@pytest.mark.parametrize(
    ("url", "wanted"), [("http://api:8000", "api:8000"), ("http://api:8000/", "api:8000"), ("http://api", "api:80")]
)
def test_an_address_is_taken_from_a_url(url: str, wanted: str) -> None:
    assert address(url) == wanted


@pytest.mark.parametrize("url", ["api:8000", "https://api", "http://", "http://api/v1", ""])
def test_what_is_no_plain_url_is_refused(url: str) -> None:
    with pytest.raises(BadSettings, match="http://host:port"):
        address(url)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("search x\nnameserver 127.0.0.11\nnameserver 10.0.0.1\n", "127.0.0.11"),
        ("nameserver fd00::1\n", "[fd00::1]"),
        ("# nameserver 1.2.3.4\nnameserver\n", ""),
        ("", ""),
    ],
)
def test_the_name_server_is_the_first_one_of_the_machine(text: str, wanted: str) -> None:
    assert name_server(text) == wanted


def test_several_live_processes_share_the_calls():
    config = render(listen="127.0.0.1:8080", body_limit_bytes=1000, live=[f"unix:{uds}" for uds in live_sockets(3)])

    assert "upstream live { server unix:run/live.sock; server unix:run/live-1.sock; server unix:run/live-2.sock; " in (
        config
    )
