"""Costs: what replicas hold and jobs use of devices, what that costs, and how much may be spent."""

from dataclasses import dataclass
from enum import StrEnum

DAY_S = 86_400
HOUR_S = 3_600
CPU, GPU = "cpu", "gpu"
"""Kinds of device in the price table: a core, and any card that has no price of its own."""
MOST_MONEY = 1e12


class Purchase(StrEnum):
    """How a node's devices are paid for."""

    ON_DEMAND = "on_demand"
    RESERVED = "reserved"
    SPOT = "spot"


class Period(StrEnum):
    """Both in UTC."""

    DAY = "day"
    MONTH = "month"


class Level(StrEnum):
    """How far a budget is used up: below both limits, past the soft one, past the hard one."""

    OK = "ok"
    SOFT = "soft"
    HARD = "hard"


class CostGroup(StrEnum):
    SERVICE = "service"
    TENANT = "tenant"
    DAY = "day"
    DEVICE = "device"


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """Of one device, or one core, for an hour, from `valid_from` (epoch) on. `is_example`: nobody has set it."""

    device_kind: str
    purchase: Purchase
    per_hour: float
    valid_from: float = 0.0
    is_example: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """`part`: of a whole card, 0 to 1; a MIG device is less than one."""

    kind: str
    memory_bytes: int
    part: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Occupant:
    """A replica that is there, on its node and device, with what it has reserved.

    `gpu` 1 takes the card, or as much of it as `gpu_memory_bytes` says. `cpus`: cores reserved, 0 for none.
    `threads`: that each instance computes with.
    """

    replica_id: str
    tenant_id: str
    service_id: str
    node_id: str
    device: str
    purchase: str
    instances: int
    threads: int
    gpu: int = 0
    gpu_memory_bytes: int = 0
    cpus: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """`units`: cards, or cores, that the replica keeps from others. `cpus`: cores, whatever the device."""

    replica_id: str
    tenant_id: str
    service_id: str
    device_kind: str
    purchase: Purchase
    instances: int
    units: float
    cpus: float


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldRow:
    """What is added to a day of a service. `held_s`: device-seconds; `cpu_s`: core-seconds."""

    day: int
    tenant_id: str
    service_id: str
    device_kind: str
    purchase: str
    held_s: float
    cpu_s: float
    money: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """One row of the answer. `group`: what it is of; `purchase` only of devices.

    `used_s`: engine time, times the part of its device that the instance held. `used_money`: that part of `money`.
    """

    group: str
    held_s: float
    used_s: float
    cpu_s: float
    jobs: int
    rows: int
    money: float
    used_money: float
    purchase: str = ""
    name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A job's share of one engine call: seconds, where, and at which time (epoch)."""

    share_s: float
    at: float
    device_kind: str
    purchase: str
    units: float
    cpus: float


@dataclass(frozen=True, slots=True, kw_only=True)
class JobCost:
    gpu_s: float
    cpu_s: float
    money: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """How much a tenant, or one service of it, may cost in a period; None is no limit of that kind.

    `service_id` empty: the whole tenant. `of_system`: only holders of system keys change it. `low_priority`: past the
    hard limit, new jobs of this priority and below are refused. `level` holds for the period begun at `judged_for`.
    """

    id: str
    tenant_id: str
    service_id: str = ""
    period: Period = Period.MONTH
    of_system: bool = False
    soft: float | None = None
    hard: float | None = None
    low_priority: int = 4
    level: Level = Level.OK
    judged_for: float = 0.0
    level_at: float | None = None
    created_at: float = 0.0
    updated_at: float = 0.0
