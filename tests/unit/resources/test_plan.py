"""Placement and preemption: properties over made-up worlds, and a few cases that a person can check by hand."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.resources.fit import CPU, Card, Holding, Need, Room, Size, Where
from inference.resources.plan import Limits, Placement, Planner, Refusal, plan, rank

PLENTY = Limits(evictions=1000)


def sizes(*, may_be_whole=True):
    shares = st.builds(
        Size,
        card_bytes=st.sampled_from([0, 2, 3, 4, 6, 8, 12]),
        cpu_milli=st.sampled_from([0, 0, 1000, 2000]),
        memory_bytes=st.sampled_from([0, 0, 5]),
    )
    return shares | st.just(Size(is_whole=True)) if may_be_whole else shares


@st.composite
def worlds(draw):
    """Nodes of a few cards, holders that were placed there by the planner itself, and needs."""
    rooms = [
        Room(
            id=f"n{node}",
            cpu_milli=4000,
            memory_bytes=12,
            cards=tuple(
                Card(id=f"g{node}{card}", memory_bytes=draw(st.sampled_from([8, 16]))) for card in range(cards)
            ),
            can_cuda=draw(st.booleans()),
        )
        for node, cards in enumerate(draw(st.lists(st.integers(1, 2), min_size=1, max_size=2)))
    ]
    first = plan(rooms, [], [draw(needs(f"old{number}", 1)) for number in range(draw(st.integers(2, 10)))], PLENTY)
    holdings = [
        Holding(
            id=name,
            group=placed.need.group,
            node_id=placed.holding.node_id,
            device=placed.holding.device,
            size=placed.size,
            priority=placed.need.priority,
            is_fixed=draw(st.integers(0, 5)) == 5,
            reload_s=draw(st.sampled_from([1.0, 2.0, 9.0])),
        )
        for name, placed in first.placed.items()
    ]
    return rooms, holdings, [draw(needs(f"new{number}", 4)) for number in range(draw(st.integers(1, 6)))]


@st.composite
def needs(draw, name, lowest):
    where = draw(st.sampled_from([Where.CARD, Where.CARD, Where.EITHER, Where.CPU]))
    return Need(
        id=name,
        group=draw(st.sampled_from("abcd")),
        size=draw(sizes(may_be_whole=where is Where.CARD)),
        where=where,
        priority=draw(st.integers(lowest, lowest + 6)),
        born=draw(st.sampled_from([1.0, 2.0])),
        waiting_s=draw(st.sampled_from([0.0, 700.0])),
    )


def there(holdings, found, *, drained=False):
    """Who holds what after the plan: at once, or when all victims are gone."""
    out = {victim.id for placed in found.placed.values() for victim in placed.victims}
    stay = [one for one in holdings if not drained or one.id not in out]
    return stay + [
        Holding(
            id=name,
            group=placed.need.group,
            node_id=placed.holding.node_id,
            device=placed.holding.device,
            size=placed.size if drained else placed.holding.size,
            priority=placed.need.priority,
            is_fixed=True,
        )
        for name, placed in found.placed.items()
    ]


def has_room(room, device, holders, size):
    """Written out plainly, as an oracle: whether `size` fits there beside these holders."""
    here = [one for one in holders if one.node_id == room.id]
    if size.cpu_milli and size.cpu_milli > room.cpu_milli - sum(one.size.cpu_milli for one in here):
        return False
    if size.memory_bytes and size.memory_bytes > room.memory_bytes - sum(one.size.memory_bytes for one in here):
        return False
    if device == CPU:
        return True
    mates = [one for one in here if one.device == device.id]
    if any(one.size.is_whole for one in mates) or (size.is_whole and mates):
        return False
    return size.card_bytes <= device.memory_bytes - sum(one.size.card_bytes for one in mates)


def places(rooms, need):
    cards = [] if need.where is Where.CPU else [(room, card) for room in rooms for card in room.cards]
    return cards if need.where is Where.CARD else [(room, CPU) for room in rooms]


@given(worlds())
@settings(max_examples=60, deadline=None)
def test_capacity_is_never_exceeded_neither_now_nor_when_victims_are_gone(world):
    rooms, holdings, wanted = world

    found = plan(rooms, holdings, wanted, PLENTY)

    for holders in (there(holdings, found), there(holdings, found, drained=True)):
        for room in rooms:
            here = [one for one in holders if one.node_id == room.id]
            assert sum(one.size.cpu_milli for one in here) <= room.cpu_milli
            assert sum(one.size.memory_bytes for one in here) <= room.memory_bytes
            for card in room.cards:
                mates = [one for one in here if one.device == card.id]
                assert sum(one.size.card_bytes for one in mates) <= card.memory_bytes
    for room in rooms:
        for card in room.cards:
            final = [one for one in there(holdings, found, drained=True) if one.device == card.id]
            assert len(final) <= 1 or not any(one.size.is_whole for one in final)


@given(worlds())
@settings(max_examples=60, deadline=None)
def test_victims_are_strictly_lower_not_fixed_and_put_out_once(world):
    rooms, holdings, wanted = world

    found = plan(rooms, holdings, wanted, PLENTY)

    victims = Counter(victim.id for placed in found.placed.values() for victim in placed.victims)
    assert all(times == 1 for times in victims.values())
    for placed in found.placed.values():
        assert all(victim.priority < placed.need.priority and not victim.is_fixed for victim in placed.victims)


@given(worlds())
@settings(max_examples=60, deadline=None)
def test_nobody_waits_while_lower_ones_hold_what_would_do(world):
    rooms, holdings, wanted = world

    found = plan(rooms, holdings, wanted, PLENTY)

    for need in wanted:
        if need.id not in found.refused:
            continue
        later = {name for name, placed in found.placed.items() if placed.need.priority < need.priority}
        spared = {victim.id for name in later for victim in found.placed[name].victims}
        evicted = {victim.id for placed in found.placed.values() for victim in placed.victims} - spared
        staying = [
            one
            for one in there(holdings, found)
            if one.id not in later and not (one.id not in evicted and one.priority < need.priority and not one.is_fixed)
        ]
        assert not any(has_room(room, device, staying, need.size) for room, device in places(rooms, need))


@given(worlds())
@settings(max_examples=60, deadline=None)
def test_no_victim_can_be_spared(world):
    rooms, holdings, wanted = world

    (found, need) = next(
        (
            (found, need)
            for need in wanted
            if (found := plan(rooms, holdings, [need], PLENTY)).placed and found.placed[need.id].victims
        ),
        (None, None),
    )

    if found is not None:
        placed = found.placed[need.id]
        room = next(room for room in rooms if room.id == placed.holding.node_id)
        device = next((card for card in room.cards if card.id == placed.holding.device), CPU)
        for spared in placed.victims:
            gone = {victim.id for victim in placed.victims} - {spared.id}
            assert not has_room(room, device, [one for one in holdings if one.id not in gone], placed.need.size)


@given(worlds(), st.randoms())
@settings(max_examples=60, deadline=None)
def test_the_order_of_the_input_plays_no_part(world, random):
    rooms, holdings, wanted = world
    shuffled = [random.sample(items, len(items)) for items in (rooms, holdings, wanted)]

    first, second = plan(*world, PLENTY), plan(*shuffled, PLENTY)

    assert first.refused == second.refused
    assert {n: (p.holding.device, {v.id for v in p.victims}) for n, p in first.placed.items()} == {
        n: (p.holding.device, {v.id for v in p.victims}) for n, p in second.placed.items()
    }


@given(worlds(), st.sampled_from([0.0, 300.0]))
@settings(max_examples=60, deadline=None)
def test_a_plan_of_what_was_planned_is_nothing(world, ageing_s):
    rooms, holdings, wanted = world
    limits = Limits(evictions=1000, ageing_s=ageing_s)

    first = plan(rooms, holdings, wanted, limits)
    leaving = {victim.id for placed in first.placed.values() for victim in placed.victims}
    after = [one for one in there(holdings, first) if one.id not in leaving]
    after += [_fixed(one) for one in holdings if one.id in leaving]
    second = plan(rooms, after, [need for need in wanted if need.id in first.refused], limits)

    assert second.placed == {}


def _fixed(one):
    return Holding(id=one.id, group=one.group, node_id=one.node_id, device=one.device, size=one.size, is_fixed=True)


@given(worlds(), st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_no_more_are_put_out_than_the_budget_allows_but_for_a_first_need(world, budget):
    rooms, holdings, wanted = world

    found = plan(rooms, holdings, wanted, Limits(evictions=budget))

    sets = [len(placed.victims) for placed in found.placed.values() if placed.victims]
    assert sum(sets) <= budget or (budget and len(sets) == 1)


def card(name="n1", *, count=1, memory=16):
    cards = tuple(Card(id=f"{name}-{at}", memory_bytes=memory) for at in range(count))
    return Room(id=name, cpu_milli=4000, memory_bytes=0, cards=cards)


def need(name="x", size=4, priority=5, *, where=Where.CARD, group=None, **more):
    return Need(id=name, group=group or name, size=Size(card_bytes=size), where=where, priority=priority, **more)


def held(name, size, device="n1-0", *, priority=3, reload_s=1.0, group=None, is_fixed=False):
    return Holding(
        id=name,
        group=group or name,
        node_id=device.split("-")[0],
        device=device,
        size=Size(card_bytes=size),
        priority=priority,
        reload_s=reload_s,
        is_fixed=is_fixed,
    )


def victims_of(placed):
    assert isinstance(placed, Placement)
    return [victim.id for victim in placed.victims]


def test_the_tightest_card_is_taken_so_that_large_ones_stay_free():
    holders = [held("a", 10, "n1-0"), held("b", 2, "n1-1")]

    found = plan([card(count=3)], holders, [need(size=5)])

    assert found.placed["x"].holding.device == "n1-0"


def test_replicas_of_a_group_go_to_different_nodes_before_the_tightest_card():
    found = plan([card("n1", count=2), card("n2")], [held("a", 12, group="s")], [need(size=4, group="s")])

    assert found.placed["x"].holding.node_id == "n2"


def test_one_victim_is_better_than_two_and_a_lower_one_than_a_higher():
    rooms = [card(count=3, memory=8)]
    holders = [
        held("small1", 4, "n1-0", priority=1),
        held("small2", 4, "n1-0", priority=1),
        held("high", 8, "n1-1", priority=4),
        held("low", 8, "n1-2", priority=3),
    ]

    assert victims_of(plan(rooms, holders, [need(size=8, priority=9)]).placed["x"]) == ["low"]


def test_of_equal_victims_the_one_that_is_back_soonest_goes():
    holders = [held("slow", 8, "n1-0", reload_s=60.0), held("quick", 8, "n1-1", reload_s=2.0)]

    assert victims_of(plan([card(count=2, memory=8)], holders, [need(size=8)]).placed["x"]) == ["quick"]


def test_the_cheapest_single_victim_is_found_among_many():
    holders = [held(f"h{at:02}", 8, f"n1-{at}", reload_s=60.0 - at) for at in range(20)]

    assert victims_of(plan([card(count=20, memory=8)], holders, [need(size=8)]).placed["x"]) == ["h19"]


def test_who_can_stay_is_spared():
    holders = [held("small", 2, priority=1), held("one", 6, priority=2), held("other", 6, priority=3)]

    assert sorted(victims_of(plan([card()], holders, [need(size=12)]).placed["x"])) == ["one", "other"]


def test_equals_and_who_must_not_be_evicted_stay():
    holders = [held("equal", 8, "n1-0", priority=5), held("fixed", 8, "n1-1", priority=1, is_fixed=True)]

    assert plan([card(count=2, memory=8)], holders, [need(size=8)]).refused == {"x": Refusal.NO_ROOM}


def test_what_a_victim_holds_is_promised_and_only_the_rest_is_taken_at_once():
    placed = plan([card(memory=16)], [held("low", 10)], [need(size=12)]).placed["x"]

    assert (placed.size.card_bytes, placed.holding.size.card_bytes) == (12, 2)
    assert victims_of(placed) == ["low"]


def test_a_whole_card_puts_out_all_who_share_it():
    holders = [held("a", 1), held("b", 0)]

    found = plan([card()], holders, [Need(id="x", group="x", size=Size(is_whole=True), where=Where.CARD)])

    assert sorted(victims_of(found.placed["x"])) == ["a", "b"]


def test_a_long_wait_goes_first_into_free_room_and_evicts_nobody_for_it():
    limits = Limits(ageing_s=300.0)
    old, fresh = need("old", size=16, priority=3, waiting_s=1500.0), need("fresh", size=16, priority=7, born=1.0)

    free = plan([card()], [], [old, fresh], limits)
    full = plan([card()], [held("there", 16, priority=3)], [old], limits)

    assert (rank(old, limits), rank(fresh, limits)) == (8, 7)
    assert (list(free.placed), list(free.refused)) == (["old"], ["fresh"])
    assert full.refused == {"old": Refusal.NO_ROOM}


def test_what_may_run_on_the_cpu_puts_nobody_off_a_card():
    room = Room(id="n1", cpu_milli=1000, memory_bytes=0, cards=(Card(id="n1-0", memory_bytes=8),), can_cuda=True)

    found = plan([room], [held("a", 8, priority=1)], [need(size=8, where=Where.EITHER)])

    assert (found.placed["x"].holding.device, found.placed["x"].victims) == (CPU, ())


def test_on_cpu_hosts_reservations_are_kept_and_given_up_by_priority():
    room = Room(id="n1", cpu_milli=2000, memory_bytes=8)
    low = Holding(id="low", group="low", node_id="n1", size=Size(cpu_milli=1500), priority=1)
    wants = {"size": Size(cpu_milli=1000), "where": Where.CPU, "group": "x"}

    found = plan([room], [low], [Need(id="high", priority=6, **wants), Need(id="equal", priority=1, **wants)])

    assert victims_of(found.placed["high"]) == ["low"]
    assert found.refused == {"equal": Refusal.NO_ROOM}


def test_room_that_is_about_to_be_free_is_waited_for():
    going = Holding(
        id="going", group="g", node_id="n1", device="n1-0", size=Size(card_bytes=8), is_fixed=True, is_leaving=True
    )
    there = [going, held("low", 16, "n1-1", priority=1)]

    fits = plan([card(count=2)], [*there, held("beside", 8, "n1-0", priority=9)], [need(size=8)])
    too_large = plan([card(count=2)], [*there, held("beside", 8, "n1-0", priority=9)], [need(size=9)])

    assert fits.refused == {"x": Refusal.SOON}
    assert victims_of(too_large.placed["x"]) == ["low"]


@pytest.mark.parametrize("budget", [0, 1])
def test_without_budget_left_a_need_waits_for_a_later_pass(budget):
    planner = Planner([card(count=2, memory=8)], [held("a", 8, "n1-0"), held("b", 8, "n1-1")], Limits(evictions=budget))

    answers = [planner.place(need(name, size=8)) for name in ("x", "y")]

    assert [isinstance(one, Placement) for one in answers] == [budget == 1, False]
    assert answers[1] is Refusal.LATER
