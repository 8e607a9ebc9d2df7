"""Read the audit record: find in it, verify it, export it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from inference.access import chain, checks
from inference.access.chain import BEGINNING, Break, Link
from inference.access.model import AuditRecord, Principal, Reach
from inference.access.ports import AccessPorts, AuditFilter, AuditStore
from inference.errors import TenantNotFound

PAGE = 500
BEFORE_ALL = -(2**62)


@dataclass(frozen=True, slots=True, kw_only=True)
class Soundness:
    """What `verify` found. `records`: how many hold, from the first on; `head`: the hash of the last of them."""

    records: int
    head: str
    broken: Break | None = None

    @property
    def is_sound(self) -> bool:
        return self.broken is None


def tenant_for(by: Principal, tenant_id: str | None) -> str | None:
    """Whose records the caller reads when it asks for those of `tenant_id`; None is those of every tenant.

    Raises TenantNotFound for another tenant than its own, unless the key is the system's.
    """
    if tenant_id is None:
        return None if by.reach is Reach.SYSTEM else by.scope.tenant_id
    if by.reach is not Reach.SYSTEM and tenant_id != by.scope.tenant_id:
        raise TenantNotFound(f"There is no tenant '{tenant_id[:64]}'.", tenant_id=tenant_id[:64])
    return checks.known_tenant_id(tenant_id)


def find(ports: AccessPorts, *, by: Principal, which: AuditFilter) -> Sequence[AuditRecord]:
    """Records that the caller may see, newest first. Raises TenantNotFound."""
    return ports.audit.find(replace(which, tenant_id=tenant_for(by, which.tenant_id)))


def export(ports: AccessPorts, *, by: Principal, which: AuditFilter) -> Iterator[AuditRecord]:
    """Every record that the caller may see and that is there now, oldest first, read page by page.

    What is wrong with the question is raised at once, not at the first record. Raises TenantNotFound.
    """
    which = replace(which, tenant_id=tenant_for(by, which.tenant_id), after_seq=BEFORE_ALL, limit=PAGE)
    last, _ = ports.audit.head()
    return _pages(ports.audit, which, last=last, page=ports.audit.find(which))


def _pages(store: AuditStore, which: AuditFilter, *, last: int, page: Sequence[AuditRecord]) -> Iterator[AuditRecord]:
    while page:
        for record in page:
            if record.seq > last:
                return
            yield record
        page = store.find(replace(which, after_seq=page[-1].seq))


def verify(ports: AccessPorts) -> Soundness:
    """Whether every record is there, is unchanged, and follows the one before it up to the head.

    Records that are appended meanwhile are verified with the others. Whoever can write to the database can write a
    whole new chain; against that, a head that was kept elsewhere helps.
    """
    first = Link(*ports.audit.head())
    at, count = BEGINNING, 0
    for record in _all(ports.audit):
        found = chain.broken(record, at) or (_not_head(record, first) if record.seq == first.seq else None)
        if found:
            return Soundness(records=count, head=at.hash, broken=found)
        at, count = Link(record.seq, record.hash), count + 1
    found = _end(at, first) or _end(at, Link(*ports.audit.head()), is_later=True)
    return Soundness(records=count, head=at.hash, broken=found)


def _all(store: AuditStore) -> Iterator[AuditRecord]:
    which = AuditFilter(tenant_id=None, after_seq=BEFORE_ALL, limit=PAGE)
    while page := store.find(which):
        yield from page
        which = replace(which, after_seq=page[-1].seq)


def _not_head(record: AuditRecord, head: Link) -> Break | None:
    if record.hash == head.hash:
        return None
    return Break(record.seq, f"Record {record.seq} is not the one that was written: the chain ended with another hash.")


def _end(last: Link, head: Link, *, is_later: bool = False) -> Break | None:
    """`is_later`: the head was read after the last record, so more may have been appended since; less may not."""
    if last.seq < head.seq and not is_later:
        return Break(last.seq + 1, chain.missing(last.seq + 1, head.seq))
    if last.seq > head.seq and is_later:
        return Break(head.seq + 1, f"The chain should end at record {head.seq}, and goes on to record {last.seq}.")
    return None
