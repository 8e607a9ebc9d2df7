"""Where a webhook may go: the guard against being made to call our own network for somebody else (SSRF)."""

import ipaddress
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from inference.errors import CallbackRefused

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Resolve = Callable[[str, int], Sequence[str]]

LONGEST_URL = 2_000
LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_NAT64_LOCAL = ipaddress.IPv6Network("64:ff9b:1::/48")
_SIX_TO_FOUR = ipaddress.IPv6Network("2002::/16")
_TEREDO = ipaddress.IPv6Network("2001::/32")
_COMPATIBLE = ipaddress.IPv6Network("::/96")
_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")
_TRANSLATED = ipaddress.IPv6Network("::ffff:0:0:0/96")
_ISATAP = (0x00005EFE, 0x02005EFE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A URL that was checked, and the address that it must be called at: nobody resolves the name a second time."""

    scheme: str
    host: str
    port: int
    path: str
    address: str


def check_form(url: str) -> tuple[str, str, int, str]:
    """Scheme, host, port, and path with query of a URL that may be a webhook's at all. Raises CallbackRefused.

    Without a look at any name server: for the moment of submission.
    """
    if len(url) > LONGEST_URL or not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        raise _refused("it must be plain ASCII without spaces, at most 2,000 characters")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise _refused("it is not a URL") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise _refused("it must be http:// or https:// with a host")
    if parts.username is not None or parts.password is not None:
        raise _refused("a user name or password does not belong in it")
    if _is_disguised(parts.hostname):
        raise _refused("its host is a number in disguise; write the address as 192.0.2.1 or [2001:db8::1]")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return parts.scheme, parts.hostname, port or (443 if parts.scheme == "https" else 80), path


def check(url: str, *, allowed: Sequence[Network] = (), resolve: Resolve | None = None) -> Target:
    """Where the webhook goes, after its host's name was looked up: every address of it must be public or `allowed`.

    Blocks while the name server does. Raises CallbackRefused; OSError when the name cannot be looked up.
    """
    scheme, host, port, path = check_form(url)
    addresses = (resolve or lookup)(host, port)
    for text in addresses:
        address = ipaddress.ip_address(text.partition("%")[0])
        if not is_public(address) and not any(address in network for network in allowed):
            raise _refused(f"its host leads to {address}, which is not a public address")
    if not addresses:
        raise _refused("its host has no address")
    return Target(scheme=scheme, host=host, port=port, path=path, address=addresses[0])


def check_early(url: str, *, allowed: Callable[[], Sequence[Network]]) -> None:
    """What can be said of a URL without a name server: its form, and of a host that is an address where it leads.

    Raises CallbackRefused.
    """
    host = check_form(url)[1]
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return
    check(url, allowed=allowed(), resolve=lambda text, _: [text])


def _is_disguised(host: str) -> bool:
    """Whether the system would read an IPv4 address where none is plainly written: 2130706433, 0x7f.1, 127.1.

    Source: the WHATWG URL standard's "ends in a number" rule.
    """
    last = host.rstrip(".").rpartition(".")[2].lower()
    if not (last.isdigit() or last.startswith("0x")):
        return False
    try:
        return str(ipaddress.IPv4Address(host)) != host
    except ValueError:
        return True


def lookup(host: str, port: int) -> list[str]:
    """Every address of a host, in the order to try. Forms such as 2130706433 and 0x7f.1 are read as the system does."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def is_public(address: Address) -> bool:
    """Whether an address is a stranger's on the open network, also when an IPv4 address hides in an IPv6 one.

    `ipaddress` calls NAT64 and 6to4 forms of 169.254.169.254 global: what they lead to is looked at instead.
    """
    inner = hidden_ipv4(address)
    if any(not is_public(hidden) for hidden in inner):
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.is_site_local:  # "global" to `ipaddress`; RFC 3879
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def hidden_ipv4(address: Address) -> tuple[ipaddress.IPv4Address, ...]:
    """The IPv4 addresses that a translator or tunnel would really reach.

    Sources: RFC 6052 (NAT64), RFC 8215 (local NAT64), RFC 3056 (6to4), RFC 4380 (Teredo), RFC 4291 (mapped,
    compatible), RFC 2765 (translated), RFC 5214 (ISATAP).
    """
    if isinstance(address, ipaddress.IPv4Address):
        return ()
    number = int(address)
    low = ipaddress.IPv4Address(number & 0xFFFFFFFF)
    if any(address in network for network in (_NAT64, _NAT64_LOCAL, _MAPPED, _TRANSLATED)):
        return (low,)
    if address in _COMPATIBLE and number > 0xFFFF:
        return (low,)
    if address in _SIX_TO_FOUR:
        return (ipaddress.IPv4Address((number >> 80) & 0xFFFFFFFF),)
    if address in _TEREDO:
        server = ipaddress.IPv4Address((number >> 64) & 0xFFFFFFFF)
        return server, ipaddress.IPv4Address((number & 0xFFFFFFFF) ^ 0xFFFFFFFF)
    if (number >> 32) & 0xFFFFFFFF in _ISATAP:
        return (low,)
    return ()


def networks(text: str) -> tuple[Network, ...]:
    """The networks of a setting: CIDRs, separated by commas. Raises ValueError."""
    return tuple(ipaddress.ip_network(part.strip()) for part in text.split(",") if part.strip())


def reach(allowed_networks: str, *, is_open: bool) -> tuple[Network, ...]:
    """What is allowed beside public addresses: the setting's networks; and, where only this machine can call us
    and no key is asked for, its own loopback: who can call may reach that anyway.
    """
    return networks(allowed_networks) + (LOOPBACK if is_open else ())


def _refused(why: str) -> CallbackRefused:
    return CallbackRefused(f"The callback_url is refused: {why}.", field="callback_url")
