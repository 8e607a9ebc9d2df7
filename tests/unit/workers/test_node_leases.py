"""Who holds a lease: a process by its id and start time, and what is done when it is gone."""

import dataclasses
import os

from inference.resources.leases import Ask
from tests.fakes_leases import FakeLeases
from workers.node_leases import is_taken, owner_of, release_orphans


class Orphans(FakeLeases):
    """Every lease is one whose replica row is gone."""

    def orphans(self, node_id):
        return [lease for lease in self.all() if lease.node_id == node_id]


def test_a_process_is_known_by_its_id_and_start_time():
    mine = owner_of(os.getpid())

    assert mine is not None
    assert (mine[0], mine == owner_of(os.getpid())) == (os.getpid(), True)
    assert mine[1] > 0
    assert owner_of((1 << 22) + 1) is None


def test_leases_are_released_whose_process_is_gone_or_another_one_of_the_same_id():
    leases, mine = Orphans(), owner_of(os.getpid())
    owners = {"lives": mine, "later": (mine[0], mine[1] - 1), "gone": ((1 << 22) + 1, 5), "never": (None, None)}
    for name, (pid, started) in owners.items():
        leases.add(Ask(replica_id=name, service_id="s", node_id="n", device="GPU-0"))
        leases.rows[name] = dataclasses.replace(leases.rows[name], owner_pid=pid, owner_started=started)
    leases.add(Ask(replica_id="elsewhere", service_id="s", node_id="other", device="GPU-0"))

    released = release_orphans(leases, "n")

    assert released == 3
    assert leases.rows.keys() == {"lives", "elsewhere"}


def test_only_a_card_is_taken_by_who_has_not_left_it():
    assert is_taken("GPU-0", ["GPU-0"])
    assert not is_taken("GPU-1", ["GPU-0"])
    assert not is_taken("cpu", ["cpu"])
