"""The launcher: `python -m workers.launch up` runs the whole system on this machine until Ctrl-C."""

import argparse
import gc
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from inference import lifeline
from inference import settings as settings_room
from inference.errors import KeysNeeded, PenstockError
from inference.settings import Settings
from workers.launching import cradle, roles, status, up
from workers.launching.nursery import Nursery
from workers.launching.supervise import nursery_environment


def main(arguments: list[str], environ: Mapping[str, str]) -> int:
    """Exit code: 0 ended as asked, 1 could not start, 2 wrong arguments or no key where one is needed, 130 killed."""
    asked = parser().parse_args(arguments)
    try:
        if asked.command == "status":
            own = {} if asked.data_dir is None else {"PENSTOCK_DATA_DIR": str(asked.data_dir.absolute())}
            return _status(asked, settings_room.load({**environ, **own}))
        return _up(asked, environ)
    except KeysNeeded as error:
        sys.stderr.write(f"penstock: {error.message}\n")
        return 2
    except PenstockError as error:
        sys.stderr.write(f"penstock: {error.message}\n")
        return 1
    except KeyboardInterrupt:
        return 130


def _up(asked: argparse.Namespace, environ: Mapping[str, str]) -> int:
    settings = settings_of(asked, environ)
    nursery = _branch(settings, environ)
    try:
        return up.run(settings, environ=environ, flower=asked.flower, ready_file=asked.ready_file,
                      print_json=asked.print_json, nursery=nursery)  # fmt: skip
    finally:
        if nursery is not None:
            nursery.end()


def _branch(settings: Settings, environ: Mapping[str, str]) -> Nursery | None:
    """A nursery that shares what this process has loaded, before it learns anything that the parts need not know.

    None where it knows that already: who was given the text of a key.
    """
    if roles.secrets_of(environ):
        return None
    own = nursery_environment(roles.environment(settings, run_id="", redis_url="", inherited=environ))

    def become() -> None:
        os.umask(0o077)
        lifeline.leave_no_core()
        os.setsid()
        os.environ.clear()
        os.environ.update(own)
        cradle.show("launcher", environ=own)
        cradle.load()

    gc.collect()
    gc.freeze()  # or the copy, which collects too, would write to each page of it
    return Nursery.branched(become)


def parser() -> argparse.ArgumentParser:
    root = argparse.ArgumentParser(prog="penstock", description=__doc__)
    commands = root.add_subparsers(dest="command", required=True)
    start = commands.add_parser("up", help="run the whole system until Ctrl-C")
    start.add_argument("--host", help="address of the front (127.0.0.1)")
    start.add_argument("--port", type=int, help="port of the front (8080); 0 takes a free one")
    start.add_argument("--data-dir", type=Path, help="where everything is kept (.penstock)")
    start.add_argument("--flower", action="store_true", help="start Flower too")
    start.add_argument("--ready-file", type=Path, help="written, as JSON, when the system is ready")
    start.add_argument("--print-json", action="store_true", help="one JSON object on stdout when the system is ready")
    show = commands.add_parser("status", help="what runs on a data folder")
    show.add_argument("--data-dir", type=Path)
    show.add_argument("--json", action="store_true")
    return root


def settings_of(asked: argparse.Namespace, environ: Mapping[str, str]) -> Settings:
    """The settings with what the command line says on top."""
    values = dict(environ)
    if asked.data_dir is not None:
        values["PENSTOCK_DATA_DIR"] = str(asked.data_dir)
    if asked.host is not None:
        values["PENSTOCK_API__HOST"] = asked.host
    if asked.port is not None:
        values["PENSTOCK_API__PORT"] = str(asked.port)
    return settings_room.load(values)


def _status(asked: argparse.Namespace, settings: Settings) -> int:
    found = status.read(settings.data_dir)
    if found["running"]:
        from workers.launching.standing import standing  # it opens the database, which nobody else here needs

        found |= standing(settings)
    if asked.json:
        print(json.dumps(found))
    else:
        print(status.table(found))
    return 0 if found["running"] else 1


if __name__ == "__main__":
    if sys.argv[1:2] == ["up"]:
        cradle.enter("workers.launch", is_bare=True)
    sys.exit(main(sys.argv[1:], os.environ))
