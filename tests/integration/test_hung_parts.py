"""Parts that live and answer nothing: the launcher ends them, and they come back."""

import signal
import time

import pytest

from tests.integration.conftest import OwnSystem
from tests.system import kill, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.alone]


@pytest.mark.timeout(150)
def test_api_live_and_control_come_back_after_they_were_stopped(own_system: OwnSystem):
    system = own_system()
    service = system.run("double")
    stopped = {role: system.every_pid(role) for role in ("api", "live", "control")}
    for pid in system.pids("engine", service) + system.pids("node"):
        assert pid not in {pid for pids in stopped.values() for pid in pids}
    time.sleep(4)  # each was heard by now: of one that starts nobody says that it hangs
    begun = time.monotonic()

    for pids in stopped.values():
        for pid in pids:
            kill(pid, signal.SIGSTOP)
    for role, pids in stopped.items():
        wait_for(lambda r=role, p=pids: set(system.pids(r)) - set(p), timeout_s=70, what=f"another {role}")
    wait_for(lambda: system.http.get("/readyz").status_code == 200, timeout_s=30, what="ready again")
    back_s = time.monotonic() - begun

    task = system.submit(service, 4.0)
    answer = system.task(task, wait_s=20)
    print(f"API, live and control back {back_s:.1f} s after they were stopped")
    assert answer["result"] == {"y": [[8.0] * 4]}
    assert (system.folder / "up.log").read_text().count("nothing was heard of it") == 3
