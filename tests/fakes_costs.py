"""The ports of the costs room in memory."""

import dataclasses
import time

from inference.costs.budget import span
from inference.costs.model import Level
from inference.costs.ports import CostPorts, Exhausted
from inference.errors import BudgetNotFound


class FakeCosts:
    """`CostStore`: says what a test told it."""

    def __init__(self):
        self.there, self.cards, self.costs, self.money, self.runs_by_id = [], {}, [], {}, {}
        self.asked, self.held, self.is_due = [], [], True

    def sample(self, *, every_s, most_s, count):
        if self.is_due:
            self.held.append(count(self.there, self.cards, 1000.0, 1060.0))
        return self.is_due

    def occupants(self):
        return self.there, self.cards

    def find(self, tenant_id, *, day_from, day_to, by):
        self.asked.append((tenant_id, day_from, day_to, by))
        return self.costs

    def spent(self, tenant_id, *, day_from):
        return self.money

    def runs(self, job_id):
        return self.runs_by_id.get(job_id, [])


class FakePrices:
    """`PriceStore`."""

    def __init__(self):
        self.rows = []

    def all(self):
        return self.rows

    def put(self, prices):
        self.rows += [dataclasses.replace(one, valid_from=one.valid_from or time.time()) for one in prices]


class FakeBudgets:
    """`BudgetStore`. `reads` counts what the gate costs."""

    def __init__(self):
        self.rows, self.notices, self.reads = {}, [], 0

    def put(self, budget):
        for known in self.rows.values():
            if _subject(known) == _subject(budget):
                budget = dataclasses.replace(budget, id=known.id, created_at=known.created_at)
        self.rows[budget.id] = budget
        return budget

    def list(self, tenant_id):
        return [one for one in self.rows.values() if tenant_id in (None, one.tenant_id)]

    def get(self, tenant_id, budget_id):
        for one in self.list(tenant_id):
            if one.id == budget_id:
                return one
        raise BudgetNotFound(f"There is no budget {budget_id}.", budget_id=budget_id)

    def delete(self, tenant_id, budget_id):
        del self.rows[self.get(tenant_id, budget_id).id]

    def judge(self, budget, level, *, judged_for, notice):
        if self.rows.get(budget.id) != budget:
            return False
        self.rows[budget.id] = dataclasses.replace(budget, level=level, judged_for=judged_for, level_at=judged_for)
        if notice is not None:
            self.notices.append(notice)
        return True

    def exhausted(self):
        self.reads += 1
        return [
            Exhausted(
                tenant_id=one.tenant_id,
                service_id=one.service_id,
                low_priority=one.low_priority,
                hard=one.hard,
                ends_at=span(one.period, time.time())[1],
            )
            for one in self.rows.values()
            if one.level is Level.HARD
        ]


def _subject(budget):
    return budget.tenant_id, budget.service_id, budget.period, budget.of_system


def make_costs(settings, *, now_s=time.time):
    """The bundle."""
    return CostPorts(
        store=FakeCosts(), prices=FakePrices(), budgets=FakeBudgets(), settings=settings.costs, now_s=now_s
    )
