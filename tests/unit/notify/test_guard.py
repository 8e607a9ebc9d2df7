"""The guard against being made to call our own network: every disguise of 127.0.0.1 and of the metadata address."""

import ipaddress

import pytest

from inference.errors import CallbackRefused
from inference.notify import guard

PUBLIC = "93.184.215.14"


def resolving_to(*addresses: str) -> guard.Resolve:
    return lambda host, port: list(addresses)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.8.9.1", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
        "192.0.2.1", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "::", "::1", "fe80::1", "fe80::1%eth0",
        "fc00::1", "fec0::1", "fd00:ec2::254", "ff02::1", "2001:db8::1",
        "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1", "::169.254.169.254",
        "64:ff9b::7f00:1", "64:ff9b::5db8:d70e", "64:ff9b::a9fe:a9fe", "64:ff9b:1::a9fe:a9fe",
        "::ffff:0:169.254.169.254",
        "2002:7f00:1::", "2002:a9fe:a9fe::1", "2002:a9fe:a9fe:1:2:3:4:5",
        "2001:0:a9fe:a9fe::1", "2001:0:5db8:d70e:0:0:5601:5601",
        "2606:4700::5efe:a9fe:a9fe", "2606:4700::200:5efe:7f00:1",
    ],
)  # fmt: skip
def test_an_address_that_is_ours_or_hides_one_is_refused(address: str):
    with pytest.raises(CallbackRefused, match="public"):
        guard.check("https://receiver.example/hook", resolve=resolving_to(address))


@pytest.mark.parametrize("address", [PUBLIC, "2606:4700:4700::1111", "2002:5db8:d70e::1"])
def test_a_public_address_is_called_under_the_hosts_own_name(address: str):
    target = guard.check("https://receiver.example/hook?a=1", resolve=resolving_to(address))

    assert (target.host, target.port, target.path, target.address) == ("receiver.example", 443, "/hook?a=1", address)


def test_one_bad_address_among_good_ones_is_enough_to_refuse():
    with pytest.raises(CallbackRefused):
        guard.check("https://receiver.example/", resolve=resolving_to(PUBLIC, "127.0.0.1"))


@pytest.mark.parametrize(
    "url",
    [
        "", "ftp://a/", "file:///etc/passwd", "//a/b", "http://", "http:///x", "http://a b/", "http://a/\r\nX: 1",
        "http://user@a/", "http://:pw@a/", "http://a:99999/", "http://a:port/", "http://[::1", "http://ä.example/",
        "http://a\\@b/", "gopher://a:11211/_stats", "javascript:alert(1)", "http://a/" + "x" * 2000,
    ],
)  # fmt: skip
def test_what_is_no_url_for_a_webhook_is_refused_without_a_look_at_a_name_server(url: str):
    with pytest.raises(CallbackRefused):
        guard.check_form(url)


def test_a_network_of_ones_own_may_be_allowed():
    allowed = guard.networks("127.0.0.0/8, 10.0.0.0/8")

    target = guard.check("http://hooks.internal:9000/", allowed=allowed, resolve=resolving_to("127.0.0.1"))

    assert target.address == "127.0.0.1"


def test_an_allowed_network_allows_no_disguise():
    with pytest.raises(CallbackRefused):
        guard.check("http://a/", allowed=guard.LOOPBACK, resolve=resolving_to("::ffff:127.0.0.1"))


def test_plain_ipv4_hides_nothing():
    assert guard.hidden_ipv4(ipaddress.ip_address(PUBLIC)) == ()
