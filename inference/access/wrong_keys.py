"""Wrong keys, counted by address: after so many in a minute the address is not listened to."""

import contextlib
import hashlib
import ipaddress
import threading

from inference.access.ports import SharedCounts
from inference.clock import monotonic_s
from inference.errors import HotUnavailable, TooManyWrongKeys

WINDOW_S = 60.0
KNOWN_S = 86_400.0
MOST = 10_000


class WrongKeys:
    """Thread-safe. Counts are shared by all processes through Redis; while it is away each process counts alone.

    A blocked address is refused before its key is looked at, whatever it sends: guessing is really slowed. Keys that
    have opened from there within the last day, on any process, are let through, so that one failing client does not
    lock its neighbours out.
    """

    def __init__(self, counts: SharedCounts, *, per_minute: int) -> None:
        self._counts = counts
        self._most = per_minute
        self._lock = threading.Lock()
        self._blocked_until: dict[str, float] = {}
        self._alone: dict[str, tuple[int, float]] = {}
        self._known: set[tuple[str, int]] = set()

    def check(self, address: str, text: str) -> None:
        """Raises TooManyWrongKeys while the address is blocked, unless this key has opened from there before."""
        if not self._blocked_until:
            return
        until = self._blocked_until.get(network(address))
        if until is None:
            return
        left_s = until - monotonic_s()
        if left_s <= 0:
            self._blocked_until.pop(network(address), None)
        elif (address, hash(text)) not in self._known and not self._is_known_elsewhere(address, text):
            raise _blocked(left_s)

    def opened(self, address: str, text: str) -> None:
        """Remembers that this key is good from there: a trip to Redis the first time. Never raises.

        `hash` is salted per process, and never leaves it.
        """
        pair = (address, hash(text))
        if pair not in self._known:
            if len(self._known) >= MOST:
                self._known.clear()
            self._known.add(pair)
            with contextlib.suppress(HotUnavailable):
                self._counts.add({_pair(address, text): 1}, keep_s=KNOWN_S)

    def _is_known_elsewhere(self, address: str, text: str) -> bool:
        try:
            return self._counts.has(_pair(address, text))
        except HotUnavailable:
            return False

    def strike(self, address: str) -> None:
        """Counts a wrong key. Raises TooManyWrongKeys from the one after the last that a minute allows."""
        name = network(address)
        try:
            count, left_s = self._counts.strike(name, window_s=WINDOW_S)
        except HotUnavailable:
            count, left_s = self._strike_alone(name)
        if count > self._most:
            if len(self._blocked_until) >= MOST:
                self._blocked_until.clear()
            self._blocked_until[name] = monotonic_s() + left_s
            raise _blocked(left_s)

    def _strike_alone(self, name: str) -> tuple[int, float]:
        with self._lock:
            now = monotonic_s()
            count, until = self._alone.get(name, (0, 0.0))
            if now >= until:
                count, until = 0, now + WINDOW_S
                if len(self._alone) >= MOST:
                    self._alone.clear()
            self._alone[name] = count + 1, until
            return count + 1, until - now


def network(address: str) -> str:
    """What counts as one address: an IPv4 address, the /64 of an IPv6 one, else the text (a Unix socket's peer)."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address[:64]
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.IPv6Network((int(parsed) >> 64 << 64, 64)))
    return str(parsed)


def _pair(address: str, text: str) -> str:
    """The name of (address, key) that processes share. One way: the key has 256 random bits.

    What counts as one address, so that a caller with a whole network cannot fill Redis with such names.
    """
    shown = f"{network(address)} {text}".encode("utf-8", "surrogateescape")
    return "known:" + hashlib.blake2b(shown, digest_size=16).hexdigest()


def _blocked(left_s: float) -> TooManyWrongKeys:
    return TooManyWrongKeys(
        "Too many wrong keys came from this address; keys from it are not looked at for a while.",
        retry_after_s=max(1, round(left_s)),
    )
