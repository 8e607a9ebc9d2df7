"""Leases in memory, for tests of rooms; the promises of the store are held by tests/contract."""

import dataclasses
from collections.abc import Sequence

from inference.resources.leases import Ask, Lease, LeaseState


class FakeLeases:
    """`now_s`: what the database's clock shows."""

    def __init__(self) -> None:
        self.rows: dict[str, Lease] = {}
        self.now_s = 1000.0

    def all(self) -> Sequence[Lease]:
        return list(self.rows.values())

    def now(self) -> float:
        return self.now_s

    def orphans(self, node_id: str) -> Sequence[Lease]:
        return []

    def release_orphan(self, replica_id: str) -> bool:
        return self.rows.pop(replica_id, None) is not None

    def adopt(self, ask: Ask) -> None:
        self.add(ask)

    def extend(self, replica_id: str, card_bytes: int) -> None:
        """Whether there is room or not."""
        lease = self.rows[replica_id]
        held = dataclasses.replace(lease.held, card_bytes=max(lease.held.card_bytes, card_bytes))
        self.rows[replica_id] = dataclasses.replace(lease, held=held, wanted=held)

    def add(self, ask: Ask) -> None:
        """Whether there is room or not."""
        for victim in ask.victims:
            self.rows[victim] = dataclasses.replace(self.rows[victim], for_id=ask.replica_id)
        self.rows[ask.replica_id] = Lease(
            replica_id=ask.replica_id,
            service_id=ask.service_id,
            node_id=ask.node_id,
            device=ask.device,
            state=LeaseState.RESERVED,
            held=ask.size,
            wanted=ask.size,
            reserved_at=self.now_s,
        )
