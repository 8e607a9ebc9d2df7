"""What production mode refuses in the URLs of servers: open doors, default secrets, and TLS that checks nothing."""

from collections.abc import Mapping
from ipaddress import ip_address
from urllib.parse import SplitResult, parse_qs, urlsplit

DEFAULT_SECRETS = frozenset({"penstock", "postgres", "password", "changeme", "change-me", "secret", "guest", "admin"})


def refusals(urls: Mapping[str, str]) -> list[str]:
    """One sentence for each thing in `urls` (by the name of their setting) that is not accepted; never a secret."""
    return [sentence for name, text in urls.items() for sentence in _of_one(name, urlsplit(text))]


def _of_one(name: str, url: SplitResult) -> list[str]:
    found = []
    if url.scheme in ("redis", "rediss", "valkey") and not url.password:
        found.append(f"{name} names a Redis without a password; production mode refuses an unprotected Redis.")
    if url.scheme in ("amqp", "amqps", "pyamqp") and not url.password:
        found.append(f"{name} names no password, so the broker's default one is used; production mode refuses that.")
    if url.password in DEFAULT_SECRETS:
        found.append(f"{name} uses a default password; production mode refuses it, choose another.")
    if not _is_this_machine(url.hostname or parse_qs(url.query).get("host", [""])[-1]):
        found += [
            f"{name} says {said}; production mode refuses that for a server on another machine."
            for said in _unchecked(url)
        ]
    return found


def _unchecked(url: SplitResult) -> list[str]:
    """The options of the URL that leave a link open to whoever stands in between."""
    options = {key: values[-1].lower() for key, values in parse_qs(url.query).items()}
    found = []
    if url.scheme == "rediss":
        if options.get("ssl_cert_reqs", "required").removeprefix("cert_") != "required":
            found.append("ssl_cert_reqs")
        if options.get("ssl_check_hostname", "true") in ("false", "0", "no"):
            found.append("ssl_check_hostname")
    elif options.get("sslmode") == "disable":
        found.append("sslmode")
    return [f"{key}={options[key]}" for key in found]


def _is_this_machine(host: str) -> bool:
    """Nothing, or a path, is a socket in a folder."""
    if host in ("", "localhost") or host.startswith("/"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
