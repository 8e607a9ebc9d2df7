"""Records of an audit that nobody wrote, in a sound chain."""

import dataclasses

from inference.access import chain
from inference.access.model import AuditRecord


def record(seq: int, previous_hash: str, **changes: object) -> AuditRecord:
    values: dict[str, object] = {
        "seq": seq,
        "at": 1_790_000_000.25 + seq,
        "tenant_id": "a",
        "actor_kind": "key",
        "actor_id": "0b51e3c2a9d4",
        "actor_name": "line 3, 北京",
        "address": "192.0.2.7",
        "operation": "POST /api/v1/inference/services/s/start",
        "action": "service.start",
        "object_kind": "service",
        "object_id": "s",
        "before": {"state": "pending"},
        "after": {"state": "deploying", "config": {"threads": None, "timeout_s": 0.5}},
        "previous_hash": previous_hash,
        **changes,
    }
    made = AuditRecord(**values)
    return dataclasses.replace(made, hash=chain.digest(made))


def records(count: int) -> list[AuditRecord]:
    made: list[AuditRecord] = []
    for seq in range(1, count + 1):
        made.append(record(seq, made[-1].hash if made else ""))
    return made


def keep(store, rows: list[AuditRecord]) -> None:
    """In a `FakeAudit`, with the head where it belongs."""
    store.rows, store.end = list(rows), (rows[-1].seq, rows[-1].hash) if rows else (0, "")
