"""The ports of the alerts room in memory: values and time are what a test says."""

import dataclasses

from inference.alerts.model import Order, OrderState, Phase, Subject
from inference.alerts.ports import AlertPorts
from inference.errors import NameExists, SilenceNotFound
from inference.settings import AlertsSettings


class FakeRules:
    """`RuleStore`."""

    def __init__(self):
        self.rows, self.quiet = {}, {}

    def rules(self, tenant_id):
        return [one for one in self.rows.values() if tenant_id in (None, one.tenant_id)]

    def save(self, rule, *, before):
        for one in self.rows.values():
            if (one.tenant_id, one.name) == (rule.tenant_id, rule.name) and one.id != rule.id:
                raise NameExists("taken", name=rule.name)
        self.rows[rule.id] = rule
        return rule

    def delete(self, rule):
        del self.rows[rule.id]

    def silences(self, tenant_id, *, now):
        return [one for one in self.quiet.values() if one.until > now and tenant_id in (None, one.tenant_id)]

    def silence(self, silence):
        self.quiet[silence.id] = silence
        return silence

    def unsilence(self, tenant_id, silence_id):
        if silence_id not in self.quiet or self.quiet[silence_id].tenant_id != tenant_id:
            raise SilenceNotFound("none", id=silence_id)
        del self.quiet[silence_id]


class FakeAlerts:
    """`AlertStore`. `now` is set by a test."""

    def __init__(self):
        self.rows, self.orders, self.now, self.due, self.leases = {}, {}, 1_000.0, {}, {}

    def now_s(self):
        return self.now

    def active(self):
        return [one for one in self.rows.values() if one.phase is not Phase.RESOLVED]

    def begin(self, alert):
        if any((one.rule_id, one.service_id) == (alert.rule_id, alert.service_id) for one in self.active()):
            return False
        self.rows[alert.id] = alert
        return True

    def note(self, alert):
        self.rows[alert.id] = dataclasses.replace(self.rows[alert.id], value=alert.value, quiet_since=alert.quiet_since)

    def fire(self, alert):
        self.rows[alert.id] = alert
        return True

    def drop(self, alert):
        del self.rows[alert.id]

    def tell(self, alert, orders):
        if self.rows[alert.id].told_at is not None:
            return False
        self.rows[alert.id] = alert
        self.orders |= {one.id: one for one in orders}
        return True

    def resolve(self, alert, orders):
        self.rows[alert.id] = alert
        self.orders |= {one.id: one for one in orders}
        return True

    def list(self, scope, *, phase, service_id, limit, before_id):
        found = [
            one
            for one in self.rows.values()
            if one.phase is not Phase.PENDING and phase in (None, one.phase) and service_id in (None, one.service_id)
        ]
        return sorted(found, key=lambda one: one.id, reverse=True)[:limit]

    def orders_of(self, tenant_id, alert_ids):
        return [one for one in self.orders.values() if one.alert_id in alert_ids]

    def take(self, *, by, limit, lease_s):
        due = [o for o in self.orders.values() if o.state is OrderState.PENDING and self.due.get(o.id, 0.0) <= self.now]
        for order in due[:limit]:
            self.due[order.id] = self.now + lease_s
        return [(order, self.rows[order.alert_id]) for order in due[:limit]]

    def settle(self, order: Order, *, by, state, delay_s, note):
        self.due[order.id] = self.now + delay_s
        over = None if state is OrderState.PENDING else self.now
        self.orders[order.id] = dataclasses.replace(
            order, state=state, attempts=order.attempts + 1, note=note, settled_at=over
        )
        return True

    def last_done(self, *, tenant_id, service_id, kind):
        done = [
            one.settled_at
            for one in self.orders.values()
            if (one.service_id, one.action.kind.value, one.state) == (service_id, kind, OrderState.DONE)
        ]
        return max(done, default=None)

    def forget(self, *, keep_s, limit):
        return 0


class FakeSources:
    """`Sources`. `reads` counts what a look costs."""

    def __init__(self, services=None):
        self.there, self.rows, self.ages, self.failures, self.moved, self.spent = [], [], {}, {}, {}, {}
        self.entries, self.reads, self._services = 0, 0, services

    def subjects(self, tenant_id=None):
        if self._services is None:
            return self.there
        rows = self._services.rows.values()
        return [Subject(id=s.id, tenant_id=s.tenant_id, name=s.name, state=s.state.value) for s in rows]

    def spans(self, *, step_s, since, until):
        self.reads += 1
        return [one for one in self.rows if one.step_s == step_s and since <= one.at < until]

    def oldest_s(self, tenant_id=None):
        self.reads += 1
        return self.ages

    def load_failures(self):
        self.reads += 1
        return self.failures

    def moves(self, *, since):
        self.reads += 1
        return self.moved

    def budgets_used(self):
        self.reads += 1
        return self.spent

    def log_entries(self, service_id, *, level, keyword, since, until):
        return self.entries


class Mine:
    """`Turns`: the caller's."""

    def hold(self, name, *, by, for_s):
        return True


def make_alerts(*, serving=None, access=None, notify=None, settings=None):
    return AlertPorts(
        rules=FakeRules(),
        alerts=FakeAlerts(),
        sources=FakeSources(None if serving is None else serving.services),
        turns=Mine(),
        serving=serving,
        tenants=None if access is None else access.tenants,
        secrets=None if notify is None else notify.secrets,
        settings=settings or AlertsSettings(),
    )
