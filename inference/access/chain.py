"""The chain of the audit record: each record's hash is over its fields and the hash before it."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from inference import clock
from inference.access.model import AuditRecord


@dataclass(frozen=True, slots=True)
class Link:
    """Where a chain stands: the sequence number and the hash of its last record."""

    seq: int
    hash: str


BEGINNING = Link(0, "")


@dataclass(frozen=True, slots=True)
class Break:
    """Where a chain is broken, and how, in one sentence."""

    seq: int
    message: str


def shown(record: AuditRecord) -> dict[str, Any]:
    """The record as everybody sees it: `at` as ISO 8601 UTC with six decimals, all else as it is."""
    return {
        "seq": record.seq,
        "at": clock.iso(record.at),
        "tenant_id": record.tenant_id,
        "actor_kind": record.actor_kind,
        "actor_id": record.actor_id,
        "actor_name": record.actor_name,
        "address": record.address,
        "operation": record.operation,
        "action": record.action,
        "object_kind": record.object_kind,
        "object_id": record.object_id,
        "before": record.before,
        "after": record.after,
        "previous_hash": record.previous_hash,
        "hash": record.hash,
    }


def canonical(values: Any) -> str:
    """JSON with sorted names, no blanks, and no escapes but those that JSON needs."""
    return json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest(record: AuditRecord) -> str:
    """SHA-256, in lower-case hex, of a record's fields, `hash` itself left out.

    The exact form is the UTF-8 text of one JSON object: the fields of `shown`, which are those of an exported line,
    without `hash`; names sorted at every level; no blanks; every character as it is, but `"`, `\\` and the control
    characters below U+0020, which are `\\b \\f \\n \\r \\t` or `\\u00xx`. Records hold no number that programs write
    in several ways (`inference.access.difference`), so this is also the form of RFC 8785.
    The first record's `previous_hash` is empty.
    """
    fields = shown(record)
    del fields["hash"]
    return hashlib.sha256(canonical(fields).encode()).hexdigest()


def verify(records: Iterable[AuditRecord], *, after: Link = BEGINNING) -> Break | None:
    """The first broken link of records that come in order and follow `after`; None when all hold."""
    for record in records:
        if found := broken(record, after):
            return found
        after = Link(record.seq, record.hash)
    return None


def broken(record: AuditRecord, after: Link) -> Break | None:
    """What is wrong with a record as the one that follows `after`."""
    wanted = after.seq + 1
    if record.seq < wanted:
        return Break(record.seq, f"Record {record.seq} does not belong here: a chain begins with record 1.")
    if record.seq > wanted:
        return Break(wanted, missing(wanted, record.seq - 1))
    if record.hash != digest(record):
        return Break(record.seq, f"Record {record.seq} was changed: its hash is not that of its fields.")
    if record.previous_hash != after.hash:
        before = f"record {after.seq}" if after.seq else "an empty chain"
        return Break(record.seq, f"Record {record.seq} does not follow {before}: it names another hash before its own.")
    return None


def missing(first: int, last: int) -> str:
    """The sentence for records that are not there."""
    return f"Record {first} is missing." if first == last else f"Records {first} to {last} are missing."
