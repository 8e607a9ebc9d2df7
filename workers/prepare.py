"""Makes the database ready for a start: the newest schema, and the keys that must be there from the first moment.

`python -m workers.prepare`; with `--public HOST` it also refuses a start that would leave an open system to others.
"""

import argparse
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from inference import settings as settings_room
from inference import wiring
from inference.access import acting, keys, token
from inference.access.opening import keys_needed
from inference.access.ports import AccessPorts
from inference.errors import KeysNeeded, PenstockError
from inference.settings import Settings
from inference.store import migrate
from inference.store.database import Database
from workers.launching.opening import ADMIN_KEY


def main(arguments: list[str], environ: Mapping[str, str]) -> int:
    """Exit code: 0 ready, 1 the database or a setting is wrong, 2 others could reach a system without a key."""
    parser = argparse.ArgumentParser(prog="workers.prepare", description=__doc__)
    parser.add_argument("--public", metavar="HOST", help="the address by which other machines can reach the system")
    asked = parser.parse_args(arguments)
    try:
        prepare(settings_room.load(environ), public=asked.public)
    except KeysNeeded as refusal:
        sys.stderr.write(f"penstock: {refusal.message}\n")
        return 2
    except PenstockError as error:
        sys.stderr.write(f"penstock: {error.message}\n")
        return 1
    return 0


def prepare(settings: Settings, *, public: str | None = None) -> None:
    """Migrates; then makes the first admin key and the key for figures where settings ask for them.

    Harmless when all is there. Raises KeysNeeded for a `public` address in development mode without a key.
    """
    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    database = Database(settings.database_url, settings.store)
    try:
        migrate.upgrade(database)
    finally:
        database.close()
    core = wiring.build(settings)
    try:
        with acting.acting(acting.local("penstock migrate")):
            _first_key(core.access, settings)
            if settings.access.metrics_key:
                keys.metrics(core.access, text=settings.access.metrics_key)
        if public is not None and settings.mode != "production" and not is_closed(core.access):
            raise keys_needed(public)
    finally:
        core.close()


def is_closed(ports: AccessPorts) -> bool:
    """Whether a person's key was ever made."""
    known = ports.keys.changes(0)
    return known is not None and known.is_closed


def _first_key(ports: AccessPorts, settings: Settings) -> None:
    """Whoever chose a text has it already; a random one is left in the data folder."""
    if chosen := settings.access.first_key:
        if keys.first(ports, text=chosen) is not None:
            print("The first admin key is the one in PENSTOCK_ACCESS__FIRST_KEY.")
    elif settings.mode == "production" and not is_closed(ports):
        path = settings.data_dir / ADMIN_KEY
        if _first_in_file(ports, path):
            print(f"The first admin key is in {path}.")


def _first_in_file(ports: AccessPorts, path: Path) -> bool:
    """The file is written before the key is made, so that no key is made whose text nobody has."""
    text = token.make().text
    draft = path.with_name(f"{path.name}.{os.getpid()}.new")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(handle, "w") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())
        if keys.first(ports, text=text) is None:
            return False
        draft.replace(path)
        return True
    finally:
        draft.unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
