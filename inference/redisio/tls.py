"""How a link to Redis is encrypted: `rediss://` means a checked certificate and host name, whoever connects."""

from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from inference.errors import BadSettings
from inference.settings import RedisSettings

OPTIONS = ("ssl_cert_reqs", "ssl_check_hostname", "ssl_ca_certs", "ssl_certfile", "ssl_keyfile")


def options(url: str, settings: RedisSettings) -> dict[str, Any]:
    """redis-py's and kombu's `ssl_` arguments for a `rediss://` URL, from its query and `settings`; else empty.

    Always says what is checked: kombu alone would check nothing. Raises BadSettings for a name that does not exist.
    """
    parts = urlsplit(url)
    if parts.scheme != "rediss":
        return {}
    found: dict[str, Any] = {"ssl_cert_reqs": "required", "ssl_check_hostname": True}
    if settings.ca_file:
        found["ssl_ca_certs"] = settings.ca_file
    for name, value in parse_qsl(parts.query):
        if name.startswith("ssl_") and name not in OPTIONS:
            raise BadSettings(f"'{name}' in a rediss:// URL is not known; known are {', '.join(OPTIONS)}.", name=name)
        if name in OPTIONS:
            found[name] = value
    found["ssl_cert_reqs"] = str(found["ssl_cert_reqs"]).lower().removeprefix("cert_")
    found["ssl_check_hostname"] = str(found["ssl_check_hostname"]).lower() not in ("false", "0", "no")
    return found


def without_options(url: str) -> str:
    """The same URL without what `options` has read from it."""
    parts = urlsplit(url)
    if parts.scheme != "rediss":
        return url
    kept = [(name, value) for name, value in parse_qsl(parts.query) if not name.startswith("ssl_")]
    return parts._replace(query=urlencode(kept)).geturl()


def spelled_out(url: str, settings: RedisSettings) -> str:
    """The same URL with every option in it: kombu calls a `rediss://` URL insecure that leaves one out."""
    found = options(url, settings)
    if not found:
        return url
    plain = urlsplit(without_options(url))
    query = urlencode(found)
    return plain._replace(query=f"{plain.query}&{query}" if plain.query else query).geturl()
