"""The access room's ports in memory: same promises, no I/O."""

import dataclasses
import math
import time

from inference.access.door import Door
from inference.access.model import ApiKey, Tenant
from inference.access.ports import AccessPorts, Changes, KeyChange
from inference.access.rates import Rates
from inference.access.ring import KeyRing
from inference.access.sharing import Sharing
from inference.access.wrong_keys import WrongKeys
from inference.errors import (
    HotUnavailable,
    InUse,
    KeyNotFound,
    NameExists,
    StoreUnavailable,
    TenantNotFound,
    WrongState,
)
from inference.ids import DEFAULT_TENANT
from inference.notify import sign
from inference.notify.ports import NotifyPorts


class FakeKeys:
    """`KeyStore`. `tenants` are told with the keys."""

    def __init__(self, tenants):
        self.rows = {}
        self.digests = {}
        self.epoch = 1
        self.reads = 0
        self.is_away = False
        self._tenants = tenants

    def insert(self, key, digest, *, only_first=False):
        if only_first and self._is_closed():
            return False
        self.rows[key.id], self.digests[key.id] = key, ((digest, None),)
        self.epoch += 1
        return True

    def get(self, within, key_id):
        key = self.rows.get(key_id)
        if key is None or not _sees(within, key):
            raise KeyNotFound(f"There is no API key {key_id}.", key_id=key_id)
        return key

    def list(self, within, *, limit, before=None):
        rows = sorted((key for key in self.rows.values() if _sees(within, key)), key=_age, reverse=True)
        return [key for key in rows if before is None or _age(key) < before][:limit]

    def change(self, within, key_id, *, name=None, limits=None):
        values = {name: value for name, value in (("name", name), ("limits", limits)) if value is not None}
        return self._put(dataclasses.replace(self.get(within, key_id), **values))

    def rotate(self, within, key_id, digest, *, overlap_s):
        key, now = self.get(within, key_id), time.time()
        if key.revoked_at is not None:
            raise WrongState("It is revoked.", state="revoked")
        until = now + overlap_s if overlap_s else None
        old = ((self.digests[key_id][0][0], until),) if until else ()
        self.digests[key_id] = ((digest, None), *old)
        return self._put(dataclasses.replace(key, rotated_at=now, previous_until=until))

    def revoke(self, within, key_id):
        key = self.get(within, key_id)
        return key if key.revoked_at is not None else self._put(dataclasses.replace(key, revoked_at=time.time()))

    def changes(self, since):
        self.reads += 1
        if self.is_away:
            raise StoreUnavailable("The database is away.", part="sql", retry_after_s=1)
        epoch = self.epoch + self._tenants.epoch
        if epoch == since:
            return None
        return Changes(
            epoch=epoch,
            now=time.time(),
            keys=tuple(KeyChange(key=key, digests=self.digests[key.id]) for key in self.rows.values()),
            tenants=tuple(self._tenants.rows.values()),
            is_closed=self._is_closed(),
        )

    def _put(self, key):
        self.rows[key.id] = key
        self.epoch += 1
        return key

    def _is_closed(self):
        return any(not key.is_for_service for key in self.rows.values())


def _sees(within, key: ApiKey) -> bool:
    return (
        within.tenant_id == key.scope.tenant_id
        and within.workspace in (None, key.scope.workspace)
        and within.service_id in (None, key.scope.service_id)
    )


def _age(key: ApiKey) -> tuple[float, str]:
    return key.created_at, key.id


class FakeTenants:
    """`TenantStore`. `used`: ids that have data."""

    def __init__(self):
        self.rows = {DEFAULT_TENANT: Tenant(id=DEFAULT_TENANT, name=DEFAULT_TENANT, created_at=0.0)}
        self.used = {DEFAULT_TENANT}
        self.epoch = 1

    def insert(self, tenant):
        if tenant.id in self.rows:
            raise NameExists(f"A tenant '{tenant.id}' exists.", name=tenant.id)
        self.rows[tenant.id] = tenant
        self.epoch += 1

    def get(self, tenant_id):
        if tenant_id not in self.rows:
            raise TenantNotFound(f"There is no tenant '{tenant_id}'.", tenant_id=tenant_id)
        return self.rows[tenant_id]

    def list(self, *, limit, after_id=None):
        return [self.rows[key] for key in sorted(self.rows) if after_id is None or key > after_id][:limit]

    def change(self, tenant_id, *, name=None, limits=None, is_disabled=None):
        asked = (("name", name), ("limits", limits), ("is_disabled", is_disabled))
        values = {name: value for name, value in asked if value is not None}
        self.rows[tenant_id] = dataclasses.replace(self.get(tenant_id), **values)
        self.epoch += 1
        return self.rows[tenant_id]

    def delete(self, tenant_id):
        self.get(tenant_id)
        if tenant_id in self.used:
            raise InUse(f"The tenant {tenant_id} has services; delete those first.", tenant_id=tenant_id)
        del self.rows[tenant_id]
        self.epoch += 1


class FakeAudit:
    """`AuditStore` of `rows`, oldest first, which a test may put there and tamper with; `end` is the head."""

    def __init__(self):
        self.rows = []
        self.end = (0, "")

    def find(self, which):
        asked = {name: getattr(which, name) for name in ("tenant_id", "action", "actor_id", "object_kind", "object_id")}
        asked = {name: value for name, value in asked.items() if value is not None}
        found = [row for row in self.rows if all(getattr(row, name) == value for name, value in asked.items())]
        found = [row for row in found if (which.at_from or 0) <= row.at < (which.at_to or math.inf)]
        if which.after_seq is not None:
            return [row for row in found if row.seq > which.after_seq][: which.limit]
        found = [row for row in found if which.before_seq is None or row.seq < which.before_seq]
        return found[::-1][: which.limit]

    def head(self):
        return self.end


class FakeCounts:
    """`SharedCounts`."""

    def __init__(self):
        self.counts = {}
        self.is_away = False

    def add(self, counts, *, keep_s):
        self._ask()
        for name, count in counts.items():
            self.counts[name] = self.counts.get(name, 0) + count
        return {name: self.counts[name] for name in counts}

    def has(self, name):
        self._ask()
        return name in self.counts

    def strike(self, name, *, window_s):
        self._ask()
        self.counts[name] = self.counts.get(name, 0) + 1
        return self.counts[name], window_s

    def _ask(self):
        if self.is_away:
            raise HotUnavailable("Redis is away.", part="redis", retry_after_s=1)


class FakeUsage:
    """`UsageStore`: what a test writes into `engine`, `bytes` and `rows`."""

    def __init__(self):
        self.engine = self.bytes = self.reads = 0
        self.rows = []
        self.asked = None

    def engine_s(self, tenant_id, by_key, *, day):
        self.reads += 1
        return self._of_all(self.engine)

    def bytes_stored(self, tenant_id, by_key):
        self.reads += 1
        return self._of_all(self.bytes)

    def _of_all(self, amount):
        """The tenant's, and that of its one key, `k`."""
        return {None: amount, "k": amount}

    def find(self, scope, *, day_from, day_to, group_by):
        self.asked = (scope, day_from, day_to, group_by)
        return self.rows


def make_access(settings):
    """`AccessPorts` over fakes."""
    tenants = FakeTenants()
    return AccessPorts(
        keys=FakeKeys(tenants),
        tenants=tenants,
        audit=FakeAudit(),
        counts=FakeCounts(),
        usage=FakeUsage(),
        settings=settings.access,
    )


def make_door(access, settings):
    """A door over these ports."""
    wrong_keys = WrongKeys(access.counts, per_minute=settings.access.wrong_keys_per_minute)
    rates = Rates(Sharing(access.counts, every_s=0), settings.access)
    return Door(KeyRing(access.keys, settings.access), wrong_keys, rates)


class FakeOutbox:
    """`Outbox` without deliveries, and `WebhookSecrets` with one."""

    def __init__(self):
        self.secrets = [sign.new_secret()]

    def of_job(self, tenant_id, job_id):
        return []

    def resend(self, tenant_id, delivery_id):
        return False

    def in_force(self, tenant_id):
        return self.secrets

    def rotate(self, tenant_id, secret, *, overlap_s):
        self.secrets = [secret, *(self.secrets if overlap_s else [])]


def make_notify(settings):
    """`NotifyPorts` over fakes."""
    outbox = FakeOutbox()
    return NotifyPorts(outbox=outbox, secrets=outbox, settings=settings.notify)
