"""Services, their replicas and instances: states, moves and the data that crosses the room's walls."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class ServiceState(StrEnum):
    PENDING = "pending"
    DEPLOYING = "deploying"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"
    ERROR = "error"
    PREEMPTED = "preempted"


SERVICE_MOVES: Mapping[ServiceState, frozenset[ServiceState]] = {
    ServiceState.PENDING: frozenset({ServiceState.DEPLOYING}),
    ServiceState.DEPLOYING: frozenset({ServiceState.RUNNING, ServiceState.STOPPING, ServiceState.ERROR}),
    ServiceState.RUNNING: frozenset(
        {ServiceState.STOPPING, ServiceState.ERROR, ServiceState.PREEMPTED, ServiceState.DEPLOYING}
    ),
    ServiceState.STOPPING: frozenset({ServiceState.STOPPED, ServiceState.DEPLOYING}),
    ServiceState.STOPPED: frozenset({ServiceState.DEPLOYING}),
    ServiceState.ERROR: frozenset({ServiceState.DEPLOYING, ServiceState.STOPPING, ServiceState.STOPPED}),
    ServiceState.PREEMPTED: frozenset({ServiceState.PENDING, ServiceState.DEPLOYING, ServiceState.STOPPING}),
}

MEANT_TO_RUN = frozenset({ServiceState.DEPLOYING, ServiceState.RUNNING})
TAKES_TASKS = MEANT_TO_RUN | {ServiceState.PREEMPTED}
"""Tasks of these are accepted, and wait; of the others only with `queue_while_stopped`."""


class Desired(StrEnum):
    RUNNING = "running"
    STOPPED = "stopped"


class Observed(StrEnum):
    """What the node agent and the worker last said of a replica."""

    PENDING = "pending"
    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    STOPPED = "stopped"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirements:
    """Reservations for placement, not limits.

    `gpu` 1 takes a card; `gpu_memory_bytes` narrows that to a part of it, which others may share.
    """

    gpu: int = 0
    cpu: float = 0.0
    memory_bytes: int = 0
    gpu_memory_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class AutoScaling:
    """What the autoscaler may do to a service. `policy`: slo_drain or thresholds.

    `objective_s`: how long a job may take from submission to completion. `hold_down_s` None: as the policy says.
    `schedules`: [{cron, min_replicas}] of capacity that is there ahead of time. `max_cost_per_hour` 0: no limit.
    """

    enabled: bool = False
    policy: str = "slo_drain"
    min_replicas: int = 1
    max_replicas: int = 1
    min_instances: int = 1
    max_instances: int = 1
    objective_s: float = 10.0
    target_cpu_utilization: float = 70.0
    hold_down_s: float | None = None
    schedules: tuple[Mapping[str, Any], ...] = ()
    max_cost_per_hour: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceConfig:
    """How a service runs. `raw` is what the client wrote, shown back to it; the rest is read from it.

    `instances`: engine processes per replica. `head_start_s`: seconds that one priority level is worth.
    `allow_code`: the model may run code of its maker when it is loaded; only admins write it.
    `nan_policy`: what becomes of NaN in an output; None: as the model says, `null` when it says nothing.
    `max_batch` None: the profile decides. `max_wait_ms`: how long a free engine waits for a fuller batch.
    `priority` 1 to 10 (10 highest): who gets room first, and who gives it up. `preemptible` false: never evicted.
    `idle_ttl_s` None: never unloaded for being idle; `idle_reclaim`: `pressure` (only when another service
    waits for room) or `strict`. `fallback_service_id`: the lighter service that takes the jobs of one without room.
    `coalesce`: equal inputs that wait share one run. `cache_ttl_s`: so long its answer is kept for later ones, too;
    None: it is not. `cache_warm`: so many of the inputs used most are run again when the version changes.
    """

    raw: Mapping[str, Any] = field(default_factory=dict)
    replicas: int = 1
    instances: int = 1
    requirements: Requirements = Requirements()
    head_start_s: float = 300.0
    max_attempts: int = 3
    timeout_s: float = 60.0
    objective_ms: float = 500.0
    max_batch: int | None = None
    max_wait_ms: float = 0.0
    queue_while_stopped: bool = False
    provider: str = "auto"
    threads: int | None = None
    allow_code: bool = False
    nan_policy: str | None = None
    priority: int = 5
    preemptible: bool = True
    idle_ttl_s: float | None = None
    idle_reclaim: str = "pressure"
    fallback_service_id: str | None = None
    coalesce: bool = False
    cache_ttl_s: float | None = None
    cache_max_bytes: int = 64 << 20
    cache_warm: int = 0
    auto_scaling: AutoScaling = AutoScaling()


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A service row. Times are epoch seconds. `revision` grows with each change of config (replicas excluded).

    `target_replicas`, `target_instances`: the size that the autoscaler or the idle reclaim chose; None: the config's.
    """

    id: str
    tenant_id: str
    name: str
    model_id: str
    state: ServiceState
    config: ServiceConfig
    revision: int
    created_at: float
    updated_at: float
    started_at: float | None = None
    stopped_at: float | None = None
    scaled_at: float | None = None
    reason: str | None = None
    suggested_action: str | None = None
    workspace: str = ""
    target_replicas: int | None = None
    target_instances: int | None = None
    target_reason: str | None = None

    @property
    def wanted_replicas(self) -> int:
        """How many there should be now. A target that nobody may set any more counts for nothing."""
        if self.target_replicas is None:
            return self.config.replicas
        if self.config.auto_scaling.enabled or (self.target_replicas == 0 and self.config.idle_ttl_s is not None):
            return self.target_replicas
        return self.config.replicas

    @property
    def wanted_instances(self) -> int:
        """Engine processes that each replica should have now."""
        if self.target_instances is None or not self.config.auto_scaling.enabled:
            return self.config.instances
        return self.target_instances

    @property
    def is_resting(self) -> bool:
        """It takes work, and nothing of it runs until some comes."""
        return self.target_replicas == 0 == self.wanted_replicas


@dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    """One Celery node, wanted or there. `generation` grows at each start of its process and fences old ones.

    `usage`: of its processes together, at the node's last heartbeat: `cpu_percent` (100: one core), `cpu_s`,
    `rss_bytes`, `processes`. Empty while nothing runs. `began_at`, `ready_at`: when this generation was started, and
    first had an instance; `busy_at`: when an engine of it was last seen at work.
    """

    id: str
    service_id: str
    ordinal: int
    node_id: str
    device: str
    desired: Desired
    observed: Observed
    generation: int
    revision: int
    instances: int
    instances_ready: int
    load_failures: int
    restarts: int
    pid: int | None = None
    reason: str | None = None
    reported_at: float = 0.0
    usage: Mapping[str, Any] = field(default_factory=dict)
    began_at: float | None = None
    ready_at: float | None = None
    busy_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A host that runs workers. `inventory`: cpus, memory_bytes, gpus [{uuid, name, memory_bytes}]."""

    id: str
    host: str
    inventory: Mapping[str, Any]
    heartbeat_at: float
    is_alive: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceEvent:
    """One change of a service's state, with its reason."""

    service_id: str
    at: float
    from_state: str
    to_state: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """The batch curve measured at load on one kind of device. `curve`: (rows, median_ms, p99_ms) per bucket.

    `memory_bytes`: what one instance took there after its largest batch; None until that was measured.
    """

    model_id: str
    device_kind: str
    provider: str
    max_batch: int
    curve: tuple[tuple[int, float, float], ...]
    measured_at: float
    memory_bytes: int | None = None
    memory_basis: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """A model version in an environment, and the service that carries it. `config`: as the client wrote it."""

    id: str
    tenant_id: str
    model_id: str
    service_id: str
    environment: str
    config: Mapping[str, Any]
    created_at: float
