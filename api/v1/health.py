"""Is it alive, is it ready, and if not, which part is ill, why and since when."""

from typing import Any

from api import context, readiness
from api.blueprint import Blueprint
from api.documented import refuses
from inference import errors

blueprint = Blueprint("health", __name__, description="For probes and people")

_checkup = readiness.Checkup({
    "store": readiness.store,
    "broker": readiness.broker,
    "control": readiness.control,
    "node": readiness.node,
})  # fmt: skip


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
    found = _checkup.look(context.core())
    found.require_well()
    return {"status": "ready", "parts": found.parts}
