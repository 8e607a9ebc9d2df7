"""The table in docs/access.md of who may call what: `python -m api.access_page` writes it into the page."""

import re
import tempfile
from pathlib import Path
from typing import Any

from flask import Flask

from api.context import BASE
from inference.access.model import Reach, Role

PAGE = Path(__file__).parents[1] / "docs" / "access.md"
BEGIN = "<!-- made by `python -m api.access_page` -->"
END = "<!-- end -->"


def table(app: Flask) -> str:
    """What each role may call besides what the role before it may, from the OpenAPI document of `app`."""
    document: dict[str, Any] = app.test_client().get("/openapi.json").get_json()
    found: dict[str, list[str]] = {}
    for path, operations in document["paths"].items():
        for method, said in operations.items():
            if method in ("get", "post", "put", "patch", "delete"):
                call = f"`{method.upper()} {path.removeprefix(BASE)}`"
                found.setdefault(said.get("x-required-role", ""), []).append(call + _reach(said))
    lines = ["| needs | calls |", "|---|---|"]
    for role in ("", *(role.value for role in Role)):
        lines.append(f"| {role or 'no key'} | {', '.join(sorted(found[role], key=_by_path))} |")
    return "\n".join(lines)


def _reach(said: dict[str, Any]) -> str:
    marks = {Reach.WORKSPACE: "¹", Reach.TENANT: "²", Reach.SYSTEM: "³"}
    return {reach.name.lower(): mark for reach, mark in marks.items()}.get(said.get("x-required-reach", ""), "")


def _by_path(call: str) -> tuple[str, str]:
    method, _, path = call.strip("`¹²³").partition(" ")
    return path, method


def with_table(page: str, made: str) -> str:
    """The page, with this table between its marks."""
    return re.sub(f"{re.escape(BEGIN)}.*{re.escape(END)}", lambda _: f"{BEGIN}\n{made}\n{END}", page, flags=re.DOTALL)


def main() -> None:
    from api.app import create_app
    from inference import settings, wiring
    from inference.store import migrate
    from inference.store.database import Database

    with tempfile.TemporaryDirectory() as folder:
        known = settings.load({"PENSTOCK_DATA_DIR": folder})
        database = Database(known.database_url, known.store)
        migrate.upgrade(database)
        database.close()
        core = wiring.build(known)
        PAGE.write_text(with_table(PAGE.read_text(), table(create_app(core))))
        core.close()


if __name__ == "__main__":
    main()
