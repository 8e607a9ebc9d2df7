"""Which running Penstock a command talks to."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

DEFAULT_URL = "http://127.0.0.1:8080"
URL_VARIABLE = "PENSTOCK_URL"
KEY_VARIABLE = "PENSTOCK_API_KEY"
ADMIN_KEY = "admin.key"
"""The file below a data folder that a first start in production leaves the first key in."""


def data_dir_of(given: str | None, environ: Mapping[str, str]) -> Path:
    """The data folder: the option, else PENSTOCK_DATA_DIR, else `.penstock` here."""
    return Path(given or environ.get("PENSTOCK_DATA_DIR") or ".penstock").expanduser().absolute()


def running(data_dir: Path) -> dict[str, Any] | None:
    """What `up` says of itself in its data folder; None when no `up` of ours runs there."""
    file = data_dir / "run" / "up.json"
    try:
        if file.stat().st_uid not in (os.geteuid(), 0):
            return None  # somebody else's word: a key must not be sent where it points
        told = json.loads(file.read_text())
    except (OSError, ValueError):
        return None
    if not isinstance(told, dict) or not _is_alive(told.get("pid")):
        return None
    return told


def url_of(told: Mapping[str, Any]) -> str | None:
    """The public address that `up` wrote down; None before it has one."""
    urls = told.get("urls")
    return str(urls["api"]).rstrip("/") if isinstance(urls, dict) and urls.get("api") else None


def find_url(given: str | None, data_dir: Path) -> str:
    """The option (or PENSTOCK_URL), else the `up` that runs on the data folder, else port 8080 here."""
    if given:
        return given if "://" in given else f"http://{given}"
    told = running(data_dir)
    return (url_of(told) if told else None) or DEFAULT_URL


def find_key(url: str, data_dir: Path, environ: Mapping[str, str]) -> str | None:
    """The key to show: PENSTOCK_API_KEY, else the one that the `up` at this address left in its data folder."""
    if chosen := environ.get(KEY_VARIABLE, "").strip():
        return chosen
    told = running(data_dir)
    if told is None or url_of(told) != url.rstrip("/"):
        return None
    try:
        return (data_dir / ADMIN_KEY).read_text().strip() or None
    except OSError:
        return None


def _is_alive(pid: object) -> bool:
    if not isinstance(pid, int):
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
