"""The door: from what a request shows to who makes it, and whether they may."""

import functools
import ipaddress

from inference.access.model import ANYBODY, Principal, Reach, Role
from inference.access.rates import Rates
from inference.access.ring import KeyRing
from inference.access.wrong_keys import WrongKeys
from inference.errors import HostRefused, RoleTooLow, ScopeTooNarrow, Unauthenticated

MAX_KEY_LENGTH = 256


class Door:
    """One per process, thread-safe; a check costs microseconds and no round trip.

    `count(principal)` counts one request of a caller who came in. Raises RateLimited.
    `is_closed()`: whether a key is asked for. Raises StoreUnavailable.
    """

    def __init__(self, ring: KeyRing, wrong_keys: WrongKeys, rates: Rates) -> None:
        self._ring = ring
        self._wrong_keys = wrong_keys
        self.count = rates.count
        self.is_closed = ring.is_closed

    def enter(self, key: str | None, *, address: str, host: str) -> Principal:
        """Who asks. A key that is shown is always checked; without one, only an open system says ANYBODY.

        Raises Unauthenticated, TooManyWrongKeys, StoreUnavailable, and HostRefused for a name that a page of
        somebody else may have bound to this machine.
        """
        if key is None:
            return self._anybody(address, host)
        self._wrong_keys.check(address, key)
        holder = self._ring.holder(key) if len(key) <= MAX_KEY_LENGTH else None
        if holder is None:
            self._wrong_keys.strike(address)
            raise _unknown()
        self._wrong_keys.opened(address, key)
        return holder

    def stay(self, key: str | None, *, address: str, host: str) -> Principal:
        """Who asks, of one who came in before and waits since: a key that was revoked meanwhile is no guess, and counts
        against nobody; and wrong keys from the same address keep no revoked one in.

        Raises Unauthenticated, HostRefused, StoreUnavailable.
        """
        if key is None:
            return self._anybody(address, host)
        holder = self._ring.holder(key)
        if holder is None:
            raise _unknown()
        return holder

    def _anybody(self, address: str, host: str) -> Principal:
        if self._ring.is_closed():
            raise Unauthenticated("An API key is needed: send the header `Authorization: Bearer KEY`.")
        if not is_here(address):
            raise Unauthenticated(
                "Without keys this system answers its own machine only; make a key there (penstock key create)."
            )
        if not is_own_name(host):
            raise HostRefused(
                f"Without keys this system answers as localhost or an address, not as '{host[:100]}'; "
                "make a key (penstock key create) to use other names.",
                host=host[:100],
            )
        return ANYBODY


def _unknown() -> Unauthenticated:
    return Unauthenticated("This API key is unknown, revoked or expired.")


def allow(principal: Principal, needs: Role, reach: Reach) -> None:
    """Returns if the principal may make calls that need this role and this reach. Raises RoleTooLow, ScopeTooNarrow."""
    if principal.role is not needs and principal.role.rank < needs.rank:
        raise RoleTooLow(
            f"This needs the role {needs.value}; the key has the role {principal.role.value}.",
            role=principal.role.value,
            needed=needs.value,
        )
    if principal.reach < reach:
        raise ScopeTooNarrow(
            f"This is about the whole {reach.name.lower()}; the key covers one {principal.reach.name.lower()} only.",
            reach=principal.reach.name.lower(),
            needed=reach.name.lower(),
        )


@functools.lru_cache(maxsize=1024)
def is_here(address: str) -> bool:
    """Whether a caller's address is this machine's loopback, or no address at all (a Unix socket).

    An open system listens on loopback, so another address comes from a proxy that others can reach.
    """
    if address.startswith("127."):
        return True
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return True


@functools.lru_cache(maxsize=1024)
def is_own_name(host: str) -> bool:
    """Whether a Host header can only mean this machine: localhost, or an address written as such.

    A name may be anybody's, bound to 127.0.0.1 for a moment (DNS rebinding); an address cannot be.
    """
    name, colon, port = host.rpartition(":")
    name = name if colon and port.isdecimal() else host
    name = name.strip("[]").lower().rstrip(".")
    if name in ("", "localhost") or name.endswith(".localhost"):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
