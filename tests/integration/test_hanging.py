"""An engine call that never returns: its lease is not renewed, its process is ended, its mates run again."""

import pytest

from inference.jobs.suspect import MOST_SHARED
from tests.integration.conftest import OwnSystem
from tests.system import wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


@pytest.mark.timeout(180)
def test_a_hung_child_loses_its_lease_and_its_life_and_only_its_poison_dies(own_system: OwnSystem):
    system = own_system(WORKERS__LEASE_S=4, WORKERS__RENEW_S=1)
    config = {"max_batch": 4, "max_attempts": 2, "timeout_s": 3}
    service = system.run("hang", config=config, value=777)
    first = system.pids("engine", service)

    ids = system.submit_many(service, [1.0, 777.0, 2.0, 3.0])
    wait_for(lambda: "running" in system.states(service), timeout_s=10, what="the engine hangs")
    leases = set()

    def is_over() -> bool:
        leases.update(row.lease_until for row in system.rows("SELECT lease_until FROM instances WHERE lease_until > 0"))
        return system.pids("engine", service) != first

    wait_for(is_over, timeout_s=20, what="the hung process is ended", every_s=0.2)
    system.until_done(service, timeout_s=90)
    shown = {job.id: job for job in system.jobs(service)}

    assert [shown[one].state for one in ids] == ["completed", "dead", "completed", "completed"]
    assert shown[ids[1]].attempt == 2 + MOST_SHARED, "calls with mates cost nobody's budget"
    assert 2 <= max(shown[one].attempt for one in ids if one != ids[1]) <= 1 + MOST_SHARED, "the mates ran again"
    # Renewed each second while it made progress within its 3 s, and not afterwards: no lease reaches past 3 + 4 s.
    assert 1 <= len(leases) <= 5
    assert max(leases) - shown[ids[0]].submitted_at < 3 + 4 + 1.5
