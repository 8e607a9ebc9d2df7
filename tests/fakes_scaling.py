"""Fakes of what the autoscaler needs: services, figures and decisions in memory."""

import dataclasses

from inference.errors import ServiceNotFound
from inference.scaling.ports import DecisionRecord, Glance, ScalingPorts


class FakeScaling:
    """`services` by id; `waiting`, `running`: Unfinished by service; `newest`: ids of last jobs; `came`: counts."""

    def __init__(self):
        self.services, self.now = {}, 1_000_000.0
        self.waiting, self.running, self.newest, self.came, self.jobs_ended, self.rows = {}, {}, {}, {}, [], []
        self.made, self.saved, self.records, self.asked = {}, {}, [], []

    def now_s(self):
        return self.now

    def watched(self):
        found = self.services.values()
        return [s for s in found if s.config.auto_scaling.enabled or s.is_resting or s.config.idle_ttl_s is not None]

    def glances(self, service_ids):
        return {
            one: Glance(newest_id=self.newest.get(one, ""), waits=one in self.waiting, runs=one in self.running)
            for one in service_ids
        }

    def unfinished(self, service_ids, *, most):
        self.asked.append(("unfinished", tuple(service_ids)))
        return {one: (*self.waiting.get(one, ()), *self.running.get(one, ())) for one in service_ids}

    def arrivals(self, service_ids, *, since, until):
        self.asked.append(("arrivals", tuple(service_ids)))
        return {one: sum(since <= at < until for at in self.came.get(one, ())) for one in service_ids}

    def made_at(self, service_id, *, limit):
        return self.made.get(service_id, [])[:limit]

    def ended(self, *, since, most):
        return [job for job in self.jobs_ended if job.at > since][:most]

    def replicas(self, service_ids):
        return [row for row in self.rows if row.service_id in service_ids]

    def kept(self, service_ids):
        return {one: self.saved[one] for one in service_ids if one in self.saved}

    def keep(self, kept):
        self.saved.update(kept)

    def decide(self, service, target, *, policy, reason, signals):
        if self.services.get(service.id) != service:
            return False
        changed = {"target_replicas": target.replicas, "target_instances": target.instances, "target_reason": reason}
        after = self.services[service.id] = dataclasses.replace(service, **changed)
        self.records.append(
            DecisionRecord(
                id=f"{len(self.records):032x}",
                service_id=service.id,
                at=self.now,
                from_replicas=service.wanted_replicas,
                from_instances=service.wanted_instances,
                to_replicas=after.wanted_replicas,
                to_instances=after.wanted_instances,
                policy=policy,
                reason=reason,
                signals=signals,
            )
        )
        return True

    def decisions(self, scope, *, service_id=None, limit=100, before_id=None):
        if service_id is not None and service_id not in self.services:
            raise ServiceNotFound(service_id)
        found = [r for r in reversed(self.records) if service_id in (None, r.service_id)]
        return [r for r in found if before_id is None or r.id < before_id][:limit]

    def forget(self, *, keep_s):
        before = len(self.records)
        self.records = [record for record in self.records if record.at >= self.now - keep_s]
        return before - len(self.records)


class FakeTurns:
    def __init__(self):
        self.is_mine = True

    def hold(self, name, *, by, for_s):
        return self.is_mine

    def take(self, name, *, every_s, by):
        return self.is_mine


class NoProfiles:
    def of_model(self, model_id):
        return ()


def make_scaling(store=None, **more):
    """Ports whose store is a `FakeScaling` unless one is given."""
    return ScalingPorts(store=store or FakeScaling(), turns=FakeTurns(), profiles=NoProfiles(), **more)
