"""Loading: an artefact becomes a warm, self-checked engine with a known best batch size."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import structlog

from inference.clock import epoch_s, monotonic_s
from inference.core import Core
from inference.engines import catalog, hooks, onnx_shared, profile, selfcheck
from inference.engines.base import Engine, LoadSpec, Report, nobody_asks
from inference.engines.hooks import Hooks
from inference.jobs.cache import nan_policy_of
from inference.registry import code
from inference.registry.model import ModelVersion
from inference.resources import probe
from inference.resources.footprint import Footprint
from inference.serving.model import Profile, Service
from inference.tensors import NanPolicy, Tensors

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """`batch_s`: what a call of `max_rows` took when it was measured."""

    engine: Engine
    hooks: Hooks
    max_rows: int
    batch_s: float
    nan_policy: NanPolicy


def load(core: Core, service: Service, model: ModelVersion, report: Report = nobody_asks) -> Loaded:
    """`report`: for the engine.

    Raises EngineLoadFailed, ModelRunsCode or whatever the engine raised; the caller treats all alike.
    """
    began = monotonic_s()
    _refuse_code(core, service, model)
    device = core.settings.process.device
    is_simulated = probe.is_simulated(core.settings.resources)
    footprint = Footprint("cpu" if is_simulated else device)
    threads = service.config.threads or core.settings.engines.threads
    provider = service.config.provider
    if provider == "auto" and device != "cpu" and not is_simulated:
        provider = "cuda"
    factory = catalog.find(model.framework, core.settings.engines.plugins)
    engine = factory(
        LoadSpec(
            path=core.registry.blobs.path(model.sha256),
            provider=provider,
            device=device,
            threads=threads,
            options=model.deployment_config.get("engine") or {},
            derived=_derived(core, model),
            report=report,
        )
    )
    steps = hooks.compile(model.hooks)
    sample = selfcheck.check(engine, steps, core.registry.blobs.path(model.golden).read_bytes())
    measured = _profile(core, service, model, engine, sample, footprint, device_kind=f"{engine.provider}/{threads}")
    footprint.close()
    log.info(
        "engine_loaded",
        service_id=service.id,
        provider=engine.provider,
        max_batch=measured.max_batch,
        took_ms=round((monotonic_s() - began) * 1000),
    )
    median_ms = next((ms for rows, ms, _ in measured.curve if rows >= measured.max_batch), measured.curve[-1][1])
    return Loaded(
        engine=engine,
        hooks=steps,
        max_rows=measured.max_batch,
        batch_s=median_ms / 1000,
        nan_policy=nan_policy_of(service.config, model),
    )


def _derived(core: Core, model: ModelVersion) -> Path:
    """A folder for files made from this model; those of models that are gone go."""
    folder = core.settings.data_dir / "derived"
    onnx_shared.forget_others(folder, core.registry.blobs.has)
    return folder / model.sha256


def _refuse_code(core: Core, service: Service, model: ModelVersion) -> None:
    """Looks at the artefact itself too: it may have been registered before anybody asked whether it runs code."""
    if service.config.allow_code:
        return
    artefact, plugins = core.registry.blobs.path(model.sha256), core.settings.engines.plugins
    reason = code.reason(artefact, framework=model.framework, plugins=plugins)
    if reason is not None or model.runs_code:
        raise code.not_allowed_here(model, reason)


def _profile(
    core: Core,
    service: Service,
    model: ModelVersion,
    engine: Engine,
    sample: Tensors,
    footprint: Footprint,
    *,
    device_kind: str,
) -> Profile:
    """The batch curve and the memory taken, measured once per model and kind of device, and the best batch for this
    service's objective.
    """
    settings, config = core.settings.engines, service.config
    # Where rows influence one another, jobs must not share a call.
    most = (config.max_batch or settings.max_batch) if model.signature.joins else 1
    known = core.serving.profiles.get(model.id, device_kind)
    # A curve that ends before the usual limit ended for want of time, memory or gain, and would do so again.
    if known is not None and known.curve and not known.curve[-1][0] == settings.max_batch < most:
        best = profile.choose(known.curve, objective_ms=config.objective_ms, max_batch=most)
        return dataclasses.replace(known, max_batch=best)
    curve = profile.measure(engine, sample, max_batch=most, budget_s=settings.profile_budget_s)
    taken = footprint.taken(engine.provider)
    measured = Profile(
        model_id=model.id,
        device_kind=device_kind,
        provider=engine.provider,
        max_batch=profile.choose(curve, objective_ms=config.objective_ms, max_batch=most),
        curve=curve,
        measured_at=epoch_s(),
        memory_bytes=taken.bytes if taken else None,
        memory_basis=taken.basis if taken else None,
    )
    core.serving.profiles.put(measured)
    return measured
