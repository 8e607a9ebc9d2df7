"""Whether others may reach a system: where it listens, and whether there is a key."""

import ipaddress
from collections.abc import Callable

from inference.errors import KeysNeeded
from inference.settings import Settings


def is_public(host: str) -> bool:
    """Whether a listener on this address can be reached from other machines; a name is, unless it is localhost."""
    name = host.strip("[]").lower()
    if name == "localhost":
        return False
    try:
        return not ipaddress.ip_address(name).is_loopback
    except ValueError:
        return True


def must_ask(settings: Settings, host: str, *, is_closed: Callable[[], bool]) -> bool:
    """Whether a process that listens on `host` asks for keys from its start.

    In production it does. In development it does where others can reach it, and then there must be a key.
    Raises KeysNeeded.
    """
    if settings.access.require_keys:
        return True
    if not is_public(host):
        return False
    if not is_closed():
        raise keys_needed(host)
    return True


def keys_needed(host: str) -> KeysNeeded:
    """One sentence: what is wrong, and the two ways out."""
    return KeysNeeded(
        f"{host or 'This address'} can be reached from other machines and there is no key: make one with "
        "`penstock key create`, or bind 127.0.0.1.",
        host=host,
    )
