"""Is it alive, is it ready, and if not, which part is ill and why."""

from collections.abc import Callable
from typing import Any

from api import context
from api.blueprint import Blueprint
from api.documented import refuses
from inference import errors
from inference.core import Core
from inference.errors import Unavailable

TICK = "reconcile"
TICK_SILENCE_S = 10.0

blueprint = Blueprint("health", __name__, description="For probes and people")


@blueprint.route("/healthz", needs=None)
@blueprint.response(200)
def healthz() -> dict[str, str]:
    """This process answers"""
    return {"status": "ok"}


@blueprint.route("/readyz", needs=None)
@refuses(errors.Unavailable)
@blueprint.response(200)
def readyz() -> dict[str, Any]:
    """Database, broker, control worker and at least one node answer"""
    core = context.core()
    parts = {name: _state(check, core) for name, check in CHECKS.items()}
    ill = {name: why for name, why in parts.items() if why != "ok"}
    if ill:
        named = "; ".join(f"{name}: {why}" for name, why in ill.items())
        raise Unavailable(f"Not ready: {named}", part=next(iter(ill)), parts=parts)
    return {"status": "ready", "parts": parts}


def _state(check: Callable[[Core], str | None], core: Core) -> str:
    """`ok`, or one sentence. An outer edge: a probe never fails for want of an answer."""
    try:
        return check(core) or "ok"
    except errors.PenstockError as error:
        return error.message
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def _store(core: Core) -> str | None:
    core.ping_store()
    return None


def _broker(core: Core) -> str | None:
    core.ping_redis()
    return None


def _control(core: Core) -> str | None:
    age_s = core.serving.ticks.age_s(TICK)
    if age_s is None:
        return "The control worker has never run; start it (`penstock up`, or the role control)."
    if age_s > TICK_SILENCE_S:
        return f"The control worker was last heard {age_s:.0f} s ago; see its log."
    return None


def _node(core: Core) -> str | None:
    nodes = core.serving.nodes.list(silence_s=core.settings.serving.node_silence_s)
    if any(node.is_alive for node in nodes):
        return None
    return (
        f"None of {len(nodes)} nodes was heard lately; see the log of the role node."
        if nodes
        else "No node has ever reported."
    )


CHECKS: dict[str, Callable[[Core], str | None]] = {
    "store": _store,
    "broker": _broker,
    "control": _control,
    "node": _node,
}
