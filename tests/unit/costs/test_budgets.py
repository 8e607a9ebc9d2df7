"""Budgets: their periods, their levels, what they still pay for, and how new work is refused."""

import dataclasses
import threading
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.costs import budgets
from inference.costs.budget import allows, judge, span
from inference.costs.gate import BudgetGate
from inference.costs.model import Budget, Level, Occupant, Period
from inference.costs.ports import Exhausted
from inference.errors import BudgetExhausted, InvalidField, ScopeTooNarrow, StoreUnavailable
from inference.settings import Settings
from tests.fakes_costs import make_costs


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


NOW = at("2026-11-20T12:00:00")
OF = {"id": "b", "tenant_id": "t"}


@pytest.mark.parametrize(
    ("period", "now", "begins", "ends"),
    [
        (Period.DAY, "2026-11-20T12:00:00", "2026-11-20", "2026-11-21"),
        (Period.DAY, "2026-11-20T00:00:00", "2026-11-20", "2026-11-21"),
        (Period.MONTH, "2026-11-20T12:00:00", "2026-11-01", "2026-12-01"),
        (Period.MONTH, "2026-12-31T23:59:59", "2026-12-01", "2027-01-01"),
        (Period.MONTH, "2028-02-29T00:00:00", "2028-02-01", "2028-03-01"),
    ],
)
def test_a_period_begins_and_ends_at_midnight_utc(period, now, begins, ends):
    assert span(period, at(now)) == (at(begins), at(ends))


@given(st.sampled_from(Period), st.floats(0, 4e9))
def test_every_instant_lies_in_its_period(period, now):
    begins, ends = span(period, now)

    assert begins <= now < ends
    assert span(period, ends)[0] == ends


@pytest.mark.parametrize(
    ("soft", "hard", "spent", "level"),
    [
        (10, 20, 9.99, Level.OK),
        (10, 20, 10, Level.SOFT),
        (10, 20, 20, Level.HARD),
        (None, 20, 19, Level.OK),
        (10, None, 1e9, Level.SOFT),
        (None, 0, 0, Level.HARD),
    ],
)
def test_a_limit_is_reached_when_as_much_is_spent(soft, hard, spent, level):
    assert judge(Budget(soft=soft, hard=hard, **OF), spent) is level


@pytest.mark.parametrize(
    ("soft", "hard", "spent", "others", "price", "allowed"),
    [
        (None, None, 1e9, 0.0, 1.0, None),
        (50, None, 99, 0.0, 1.0, None),
        (50, 100, 49, 0.0, 1.0, None),
        (None, 100, 79, 0.0, 1.0, None),
        (None, 100, 80, 0.0, 0.1, 20),
        (50, 100, 60, 0.0, 0.1, 40),
        (50, 100, 60, 3.0, 0.1, 10),
        (50, 100, 60, 9.0, 0.1, 1),
        (50, 100, 60, 0.0, 0.0, None),
        (50, 100, 100, 0.0, 0.1, 1),
        (200, 100, 100, 0.0, 0.1, 1),
    ],
)
def test_past_the_soft_limit_as_many_instances_as_the_rest_pays_for(soft, hard, spent, others, price, allowed):
    budget = Budget(soft=soft, hard=hard, **OF)

    assert allows(budget, spent=spent, others_per_s=others, instance_per_s=price, left_s=10.0) == allowed


@given(st.floats(0, 100), st.floats(0, 5), st.floats(1e-6, 5), st.floats(1, 1e6))
def test_what_is_allowed_is_never_more_than_the_rest_pays_for(spent, others, price, left_s):
    allowed = allows(Budget(hard=100, **OF), spent=spent, others_per_s=others, instance_per_s=price, left_s=left_s)

    assert allowed is None or allowed == 1 or spent + (others + allowed * price) * left_s <= 100 * (1 + 1e-9)


@pytest.fixture
def ports():
    return make_costs(Settings(), now_s=lambda: NOW)


def test_a_budget_that_is_used_up_already_holds_from_the_start_and_is_told_of_once(ports):
    ports.store.money = {("t", "s"): 30.0, ("t", "x"): 40.0, ("other", "s"): 1000.0}

    of_service = budgets.put(ports, Budget(service_id="s", hard=25.0, **OF))
    of_tenant = budgets.put(ports, Budget(hard=100.0, soft=70.0, **OF))
    budgets.judge_all(ports)

    assert (of_service.budget.level, of_service.spent) == (Level.HARD, 30.0)
    assert (of_tenant.budget.level, of_tenant.spent) == (Level.SOFT, 70.0)
    assert (of_tenant.begins_at, of_tenant.ends_at) == (at("2026-11-01"), at("2026-12-01"))
    assert ports.budgets.notices == [
        "30.00 USD of this month's 25.00 are spent (hard limit); new tasks of priority 4 and below are refused.",
        "70.00 USD of this month's 70.00 are spent (soft limit); "
        "from here on it is scaled no further than the rest pays for.",
    ]


def test_what_is_used_of_soft_limits_leaves_out_budgets_without_one(ports):
    ports.store.money = {("t", "s"): 30.0}
    budgets.put(ports, Budget(service_id="s", hard=25.0, **OF))
    budgets.put(ports, Budget(soft=60.0, **OF))

    assert budgets.used(ports) == {("t", "s"): 1.2, ("t", ""): 0.5}
    assert budgets.used(ports, only_soft=True) == {("t", ""): 0.5}


def test_a_new_period_begins_at_nothing_and_tells_nobody(ports):
    ports.store.money = {("t", "s"): 30.0}
    known = budgets.put(ports, Budget(hard=25.0, **OF)).budget

    ports.store.money = {}
    later = dataclasses.replace(ports, now_s=lambda: NOW + 86_400 * 30)
    changed = budgets.judge_all(later)

    assert changed == 1
    assert ports.budgets.get("t", known.id).level is Level.OK
    assert len(ports.budgets.notices) == 1


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"soft": None, "hard": None}, "hard"),
        ({"soft": 2.0, "hard": 1.0}, "soft"),
        ({"hard": -1.0}, "hard"),
        ({"hard": float("nan")}, "hard"),
        ({"soft": 1e13}, "soft"),
        ({"hard": 1.0, "low_priority": 10}, "low_priority"),
    ],
)
def test_an_impossible_budget_is_refused(ports, changes, field):
    with pytest.raises(InvalidField) as refusal:
        budgets.put(ports, Budget(**OF, **changes))

    assert refusal.value.details["field"] == field
    assert ports.budgets.rows == {}


def test_what_a_system_key_has_set_only_one_of_those_deletes(ports):
    made = budgets.put(ports, Budget(hard=1.0, of_system=True, **OF)).budget

    with pytest.raises(ScopeTooNarrow):
        budgets.delete(ports, tenant_id="t", budget_id=made.id, by_system=False)
    budgets.delete(ports, tenant_id=None, budget_id=made.id, by_system=True)

    assert ports.budgets.rows == {}


def test_scaling_is_capped_by_the_strictest_of_all_that_a_service_stands_under(ports):
    ports.store.there = [
        Occupant(
            replica_id=name, tenant_id="t", service_id=name, node_id="n", device="cpu", purchase="", instances=2,
            threads=1, cpus=2 * 3600 / 0.045,
        )
        for name in ("s", "x")
    ]  # fmt: skip
    left_s = at("2026-12-01") - NOW
    ports.store.money = {("t", "s"): 90.0}
    budgets.put(ports, Budget(service_id="s", hard=90.0 + 4.5 * left_s, soft=10.0, **OF))
    budgets.put(ports, Budget(hard=1e12, soft=None, **OF))

    found = budgets.affordable(
        ports, {"s": ("t", 0.0), "x": ("t", 0.0), "limited": ("t", 1.0), "y": ("u", 0.0), "z": ("t", 0.0)}
    )
    of_hour = budgets.affordable(ports, {"s": ("t", 3.5 * 3600), "x": ("t", 2 * 3600)})

    assert found == {"s": 4}
    assert of_hour == {"s": 3, "x": 2}


def test_without_budgets_and_limits_nothing_is_read_of_replicas(ports):
    ports.store.occupants = None

    assert budgets.affordable(ports, {"s": ("t", 0.0)}) == {}


class Budgets:
    """What the gate reads, and how often."""

    def __init__(self, *found: Exhausted) -> None:
        self.found, self.reads, self.is_away = found, 0, False

    def exhausted(self):
        self.reads += 1
        if self.is_away:
            raise StoreUnavailable("away", part="sql")
        return self.found


def exhausted(service_id="", *, low_priority=4, ends_at=4e9) -> Exhausted:
    return Exhausted(tenant_id="t", service_id=service_id, low_priority=low_priority, hard=100.0, ends_at=ends_at)


@pytest.mark.parametrize(
    ("found", "who", "priority", "is_refused"),
    [
        ((), ("t", "s"), 0, False),
        ((exhausted("s"),), ("t", "s"), 4, True),
        ((exhausted("s"),), ("t", "s"), 5, False),
        ((exhausted("s"),), ("t", "other"), 0, False),
        ((exhausted(),), ("t", "other"), 0, True),
        ((exhausted(),), ("u", "other"), 0, False),
        ((exhausted(low_priority=7), exhausted(low_priority=2)), ("t", "s"), 6, True),
        ((exhausted("s", low_priority=1), exhausted(low_priority=7)), ("t", "s"), 6, True),
        ((exhausted("s", ends_at=1.0),), ("t", "s"), 0, False),
    ],
)
def test_past_the_hard_limit_work_of_low_priority_is_refused(found, who, priority, is_refused):
    gate = BudgetGate(Budgets(*found), every_s=60.0, currency="EUR")

    if not is_refused:
        gate.check(*who, priority)
        return
    with pytest.raises(BudgetExhausted) as refusal:
        gate.check(*who, priority)
    assert refusal.value.details["retry_after_s"] > 1e9


def test_the_refusal_says_what_is_used_up_and_what_is_still_taken():
    gate = BudgetGate(Budgets(exhausted("s")), every_s=60.0, currency="EUR")

    with pytest.raises(BudgetExhausted) as refusal:
        gate.check("t", "s", 0)

    assert refusal.value.message == (
        "The budget of this service, 100 EUR, is used up until its period ends; "
        "tasks of priority 5 and above are still taken."
    )


def test_only_the_first_check_waits_for_the_database():
    known = Budgets(exhausted("s"))
    times, went_on = [0.0], threading.Event()
    gate = BudgetGate(known, every_s=2.0, currency="EUR", clock=lambda: times[0])
    gate.check("t", "other", 0)
    known.exhausted = lambda: went_on.wait(5) and ()
    times[0] = 3.0

    with pytest.raises(BudgetExhausted):
        gate.check("t", "s", 0)
    went_on.set()


def test_a_budget_that_was_raised_in_a_pause_refuses_nobody_after_it():
    known, times = Budgets(exhausted("s")), [0.0]
    gate = BudgetGate(known, every_s=2.0, currency="EUR", clock=lambda: times[0])
    gate.check("t", "other", 0)
    known.found = ()
    times[0] = 60.0

    gate.check("t", "s", 0)

    assert known.reads == 2


def test_while_the_database_is_away_what_was_known_holds():
    known = Budgets(exhausted("s"))
    gate = BudgetGate(known, every_s=0.0, currency="EUR")
    gate.check("t", "other", 0)
    known.is_away = True

    for _ in range(2):
        with pytest.raises(BudgetExhausted):
            gate.check("t", "s", 0)


def test_what_was_never_known_refuses_nobody():
    known = Budgets(exhausted("s"))
    known.is_away = True

    BudgetGate(known, every_s=60.0, currency="EUR").check("t", "s", 0)

    assert known.reads == 1
