"""Brings the configuration back to what an archive says: tried first, then carried out whole or not at all."""

from collections.abc import Sequence

from inference.backup.model import Action, Archive, Object, Sections, Step
from inference.backup.plan import plan
from inference.backup.ports import BackupPorts
from inference.backup.sections import Section, shaped
from inference.clock import epoch_s
from inference.errors import ArchiveInvalid, RestoreRefused

SHOWN = 20


def restore(
    ports: BackupPorts,
    archive: Archive,
    *,
    tenant_id: str,
    is_dry: bool = True,
    skips_refused: bool = False,
    source: str = "",
) -> Sequence[Step]:
    """What was done with each object, or would be; nothing is ever deleted, started or stopped.

    `tenant_id`: only this tenant's objects; empty: all. With `skips_refused` the others are restored although some
    cannot be. Raises ArchiveInvalid for another tenant's archive, TenantNotFound, RestoreRefused, Unavailable.
    """
    if tenant_id and archive.tenant_id not in ("", tenant_id):
        raise ArchiveInvalid(f"The archive is of the tenant {archive.tenant_id}.", field="tenant_id")
    tenant_id = tenant_id or archive.tenant_id
    if tenant_id:
        ports.tenants.get(tenant_id)

    def check(section: Section, after: Object, now: Object | None) -> None:
        section.check(ports, shaped(section, after), now)

    def decide(now: Sections) -> Sequence[Step]:
        return plan(archive, now, tenant_id=tenant_id, at=epoch_s(), check=check)

    if is_dry:
        return decide(ports.configuration.read(tenant_id, with_keys=False))
    done = ports.configuration.apply(
        tenant_id, lambda now: _permitted(decide(now), skips_refused=skips_refused), source=source
    )
    ports.serving.kick.reconcile()
    return done


def _permitted(steps: Sequence[Step], *, skips_refused: bool) -> Sequence[Step]:
    refused = [step for step in steps if step.action is Action.REFUSED]
    if refused and not skips_refused:
        count = f"{len(refused)} objects" if len(refused) > 1 else "One object"
        first = refused[0]
        raise RestoreRefused(
            f"{count} cannot be restored, and nothing was; the first is {first.name} of {first.section}: "
            f"{first.reason} Say `skip_refused` to restore all others.",
            refused=[
                {"section": one.section, "name": one.name, "field": one.field, "reason": one.reason}
                for one in refused[:SHOWN]
            ],
        )
    return steps
