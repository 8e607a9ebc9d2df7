"""What the reconciler may do: each a value that `plan` gives and `run` carries out."""

from dataclasses import dataclass
from typing import TypeAlias

from inference.resources.fit import NOTHING, Size
from inference.serving.model import ServiceState


@dataclass(frozen=True, slots=True, kw_only=True)
class AddReplica:
    """`size` is reserved for it. `victims`: replicas that are drained for it, and leave it what they hold."""

    service_id: str
    ordinal: int
    node_id: str
    device: str
    instances: int
    revision: int
    size: Size = NOTHING
    victims: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DrainReplica:
    """Its agent lets the running batch end, then stops the process."""

    replica_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ResizeReplica:
    """Its worker grows or shrinks in place, and kills no running job for it."""

    replica_id: str
    instances: int
    card_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveReplica:
    """Nothing runs behind the row any more, or nobody can know: its instances are over with it."""

    replica_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseLease:
    """Its replica row is gone, and nothing can run behind it."""

    replica_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveService:
    service_id: str
    allowed: tuple[ServiceState, ...]
    to: ServiceState
    reason: str
    suggested_action: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Explain:
    """Says why a service is not as it should be; None when it is again."""

    service_id: str
    reason: str | None
    suggested_action: str | None


Action: TypeAlias = AddReplica | DrainReplica | ResizeReplica | RemoveReplica | ReleaseLease | MoveService | Explain
