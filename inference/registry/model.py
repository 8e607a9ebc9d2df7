"""A model version: what was registered, what it takes and gives, and where its artefact lies."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from inference.tensors import TensorSpec


class ModelState(StrEnum):
    REGISTERED = "registered"
    DEPRECATED = "deprecated"


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """What clients send and get (after the hooks), and what the engine itself takes and gives.

    `joins`: rows of several jobs may share an engine call, because no row's answer depends on its neighbours.
    False for a model whose outputs do not follow the batch axis; it is served one job a call.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    engine_inputs: tuple[TensorSpec, ...]
    engine_outputs: tuple[TensorSpec, ...]
    joins: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelVersion:
    """A model row. `sha256` names the artefact in the blob store; `golden` the packed input and output there.

    `runs_code`: loading it runs code of its maker; an admin allowed that, and must allow each service to do so.
    `estimate`: the memory that one instance takes, as `inference.resources.estimate` keeps it; empty if nobody knows.
    """

    id: str
    tenant_id: str
    name: str
    version: str
    framework: str
    state: ModelState
    sha256: str
    size_bytes: int
    golden: str
    signature: Signature
    hooks: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    accuracy_metrics: Mapping[str, Any] = field(default_factory=dict)
    deployment_config: Mapping[str, Any] = field(default_factory=dict)
    runs_code: bool = False
    created_at: float = 0.0
    estimate: Mapping[str, Any] = field(default_factory=dict)
