"""What `up` asks before others can reach it, and says once they can."""

import subprocess
from collections.abc import Mapping
from pathlib import Path

from inference.errors import KeysNeeded
from inference.settings import Settings
from workers.launching import roles

REQUIRE = "PENSTOCK_ACCESS__REQUIRE_KEYS"
ADMIN_KEY = "admin.key"
"""Where the first key lies, below the data folder, when nobody chose one."""


def closed(settings: Settings, environ: Mapping[str, str], migrate: tuple[str, ...]) -> dict[str, str]:
    """The environment of a system that others can reach: it asks for keys, also before it knows one.

    Raises KeysNeeded when there is none; nothing has been started then.
    """
    plain = roles.environment(settings, run_id="", redis_url="", inherited=environ)
    asking = {**plain, **roles.secrets_of(environ)}
    done = subprocess.run(
        [*migrate, "--public", settings.api.host], env=asking, capture_output=True, text=True, check=False
    )
    if done.returncode == 2:
        sentence = done.stderr.strip().splitlines()[-1]
        raise KeysNeeded(sentence.removeprefix("penstock: "), host=settings.api.host)
    return {**environ, REQUIRE: "true"}


def sentences(data_dir: Path, *, status: int) -> list[str]:
    """For the person who started it: who is let in, by what the system answered to a request without a key."""
    if status == 200:
        return ["open: no key is asked for, only this machine can reach it"]
    if status != 401:
        return []
    said = ["keys are asked for"]
    if (path := data_dir / ADMIN_KEY).exists():
        said.append(f"the first admin key is in {path}")
    return said
