"""`penstock doctor`: looks at this machine before something else trips over it."""

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from api.cli import checks_engine, checks_host, checks_parts, output
from api.cli.finding import FAIL, OK, Finding, fail
from api.cli.target import URL_VARIABLE
from inference import settings
from inference.errors import BadSettings


def run(*, data_dir: str | None, is_json: bool, environ: Mapping[str, str] | None = None) -> int:
    """Prints every finding; 1 when something fails, else 0."""
    given = {**(os.environ if environ is None else environ)}
    given.pop(URL_VARIABLE, None)
    if data_dir:
        given["PENSTOCK_DATA_DIR"] = data_dir
    findings = []
    for finding in examine(given):
        findings.append(finding)
        if not is_json:
            _draw(finding)
    failed = [finding.name for finding in findings if finding.status == FAIL]
    if is_json:
        shown = [finding.as_json() for finding in findings]
        output.answer({"ok": not failed, "failed": failed, "checks": shown}, is_json=True, show=output.fields)
    else:
        print(f"To fix: {', '.join(failed)}." if failed else "Nothing stands in the way.")
    return 1 if failed else 0


def examine(environ: Mapping[str, str]) -> Iterator[Finding]:
    """One finding after another; a check that breaks is itself a finding."""
    yield checks_host.python(sys.version_info[:3], sys.platform)
    try:
        known = settings.load(environ)
    except BadSettings as error:
        yield fail("settings", error.message, "Correct or remove that setting; the README lists the names.")
        return
    yield Finding(name="settings", status=OK, message=f"{known.mode} mode, data folder {known.data_dir}")
    checks: list[tuple[str, Callable[[], Finding]]] = [
        ("system", lambda: checks_parts.system(known.data_dir)),
        ("port", lambda: checks_host.port(known.api.host, known.api.port, known.data_dir)),
        ("data folder", lambda: checks_host.folder(known.data_dir)),
        ("disk", lambda: checks_host.disk(known.data_dir)),
        ("open files", checks_host.open_files),
        ("shared memory", lambda: checks_host.shared_memory(Path("/dev/shm"))),  # noqa: S108 - looked at, not used
        ("clock", checks_host.clock),
        ("sql", lambda: checks_parts.sql(known)),
        ("redis", lambda: checks_parts.redis(known)),
        ("broker", lambda: checks_parts.broker(known)),
        ("front", checks_parts.front),
        ("engine", checks_engine.engine),
        ("gpu", checks_engine.gpus),
    ]
    for name, check in checks:
        try:
            yield check()
        except Exception as error:  # an outer edge: one broken check must not hide the others
            yield fail(name, f"the check itself broke: {type(error).__name__}: {error}", "Please report this.")


def _draw(finding: Finding) -> None:
    from rich.markup import escape

    lines = f"{output.cell(finding.status)}{' ' * (6 - len(finding.status))}{finding.name:14} {escape(finding.message)}"
    screen = output.console()
    screen.print(lines, soft_wrap=True)
    if finding.fix:
        screen.print(f"{' ' * 21}-> {escape(finding.fix)}", soft_wrap=True)
