"""The process that makes reports: started when one is due, gone when none is left; its death loses none."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from inference import settings as settings_room
from inference import wiring
from inference.access.model import Scope
from inference.core import Core
from inference.ids import DEFAULT_TENANT
from inference.reports import ask
from inference.reports.model import Format, Report, ReportState
from inference.store import migrate
from inference.store.database import Database
from tests.services import wait_for
from workers.reporting import Reporting

MINE = Scope(DEFAULT_TENANT)


@pytest.fixture
def core(tmp_path: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Core]:
    """Its settings stand in the environment, where the process finds them, too."""
    ours = {"DATA_DIR": str(tmp_path), "REDIS_URL": redis_url, "LOGS__IS_KEPT": "false", "REPORTS__LEASE_S": "5"}
    for name, value in ours.items():
        monkeypatch.setenv(f"PENSTOCK_{name}", value)
    settings = settings_room.load({name: value for name, value in os.environ.items() if name.startswith("PENSTOCK_")})
    database = Database(settings.database_url, settings.store)
    migrate.upgrade(database)
    database.close()
    made = wiring.build(settings)
    yield made
    made.close()


def asked(core: Core) -> Report:
    return ask.ask(
        core.reports, tenant_id=DEFAULT_TENANT, service_id="", format=Format.HTML, language="en", timezone="UTC",
        since=None, until=None,
    )  # fmt: skip


def is_made(core: Core, report: Report) -> bool:
    return core.reports.store.get(MINE, report.id).state is ReportState.COMPLETED


def makers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "reports"]


def test_without_a_report_there_is_no_process_and_no_thread(core: Core):
    reporting = Reporting(core)

    reporting.kick()

    assert makers() == []


def test_one_process_makes_all_that_is_due_and_goes(core: Core):
    reporting, wanted = Reporting(core), [asked(core), asked(core)]

    reporting.kick()
    reporting.kick()

    wait_for(lambda: all(is_made(core, report) for report in wanted), timeout_s=60, what="both reports")
    wait_for(lambda: not makers(), timeout_s=60, what="the end of the maker")


def test_what_a_killed_process_had_in_hand_is_made_by_the_next(core: Core):
    reporting, report = Reporting(core), asked(core)
    reporting.kick()
    wait_for(lambda: reporting._maker is not None, timeout_s=10, what="a process")
    os.kill(reporting._maker.pid, 9)  # type: ignore[union-attr]
    wait_for(lambda: not makers(), timeout_s=10, what="its end")

    # Whatever it came to: before it took the report, or after, when its lease must be over first.
    wait_for(lambda: reporting.kick() or is_made(core, report), timeout_s=60, what="the report", every_s=0.5)

    assert core.reports.store.get(MINE, report.id).attempt >= 1
    wait_for(lambda: not makers(), timeout_s=60, what="the end of the maker")
