"""From replicas that are there to what they hold, and from engine calls to what a job costs. Pure."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from inference.costs.model import (
    CPU,
    DAY_S,
    GPU,
    HOUR_S,
    Card,
    HeldRow,
    Holding,
    JobCost,
    Occupant,
    Price,
    Purchase,
    Run,
)
from inference.costs.price import price_of


def holdings(occupants: Sequence[Occupant], cards: Mapping[tuple[str, str], Card]) -> list[Holding]:
    """What each replica keeps from others, in order. `cards`: by node and UUID.

    On a CPU: the cores reserved; without a reservation those that its instances compute with. On a card: all of it, or
    the part that its memory is of the card's; replicas that state neither share what is left of it equally. So the
    parts of a card never sum to more than its whole, unless more was reserved than there is.
    """
    stated: dict[tuple[str, str], float] = defaultdict(float)
    silent: dict[tuple[str, str], int] = defaultdict(int)
    for one in occupants:
        if one.device != CPU:
            part = _stated(one, cards.get((one.node_id, one.device)))
            stated[one.node_id, one.device] += part or 0.0
            silent[one.node_id, one.device] += part is None
    found = []
    for one in occupants:
        cpus = one.cpus or float(one.instances * one.threads)
        kind, units = CPU, cpus
        if one.device != CPU:
            place = one.node_id, one.device
            card = cards.get(place)
            kind = card.kind if card else GPU
            part = _stated(one, card)
            units = max(0.0, 1.0 - stated[place]) / silent[place] if part is None else part
            units *= card.part if card else 1.0
        found.append(
            Holding(
                replica_id=one.replica_id,
                tenant_id=one.tenant_id,
                service_id=one.service_id,
                device_kind=kind,
                purchase=purchase_of(one.purchase),
                instances=one.instances,
                units=units,
                cpus=cpus,
            )
        )
    return found


def _stated(one: Occupant, card: Card | None) -> float | None:
    if one.gpu_memory_bytes and card is not None and card.memory_bytes:
        return min(1.0, one.gpu_memory_bytes / card.memory_bytes)
    return 1.0 if one.gpu else None


def purchase_of(text: str) -> Purchase:
    """On demand for what an older node, or nobody, says."""
    return Purchase(text) if text in set(Purchase) else Purchase.ON_DEMAND


def per_s(holding: Holding, at: float, prices: Sequence[Price]) -> float:
    """Money a second."""
    return holding.units * price_of(holding.device_kind, holding.purchase, at, prices).per_hour / HOUR_S


def rows(held: Sequence[Holding], since: float, until: float, prices: Sequence[Price]) -> list[HeldRow]:
    """What that time adds to each day, by service, kind of device and purchase; at the prices of its end."""
    sums: dict[tuple[int, str, str, str, str], list[float]] = {}
    per_unit = {
        (kind, purchase): price_of(kind, purchase, until, prices).per_hour / HOUR_S
        for kind, purchase in {(one.device_kind, one.purchase) for one in held}
    }
    for day, seconds in days(since, until):
        for one in held:
            total = sums.setdefault(
                (day, one.tenant_id, one.service_id, one.device_kind, one.purchase.value), [0.0, 0.0, 0.0]
            )
            total[0] += seconds * one.units
            total[1] += seconds * one.cpus
            total[2] += seconds * one.units * per_unit[one.device_kind, one.purchase]
    return [
        HeldRow(
            day=day,
            tenant_id=tenant_id,
            service_id=service_id,
            device_kind=kind,
            purchase=purchase,
            held_s=total[0],
            cpu_s=total[1],
            money=total[2],
        )
        for (day, tenant_id, service_id, kind, purchase), total in sorted(sums.items())
    ]


def days(since: float, until: float) -> Iterator[tuple[int, float]]:
    """The days (UTC, since 1970) that the time touches, and how much of it lies in each."""
    while since < until:
        day = int(since // DAY_S)
        ends = min(until, float((day + 1) * DAY_S))
        yield day, ends - since
        since = ends


def job_cost(runs: Sequence[Run], prices: Sequence[Price]) -> JobCost:
    """Of all engine calls that a job had part in, whatever became of them."""
    gpu_s = cpu_s = money = 0.0
    for run in runs:
        gpu_s += run.share_s * run.units if run.device_kind != CPU else 0.0
        cpu_s += run.share_s * run.cpus
        per_hour = price_of(run.device_kind, purchase_of(run.purchase), run.at, prices).per_hour
        money += run.share_s * run.units * per_hour / HOUR_S
    return JobCost(gpu_s=gpu_s, cpu_s=cpu_s, money=money)
