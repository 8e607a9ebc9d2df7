"""What a service keeps of its answers: look, and empty."""

from typing import Any

from api import context
from api.blueprint import Blueprint
from api.documented import READING, refuses
from api.schemas import cache as schemas
from inference import errors
from inference.access.model import Role
from inference.jobs.cache_model import ResultCache
from inference.serving.model import Service

blueprint = Blueprint("cache", __name__, description="Answers that are kept for equal inputs")

Json = dict[str, Any]


@blueprint.route("/services/<service_id>/cache", needs=Role.VIEWER)
@refuses(*READING, errors.ServiceNotFound)
@blueprint.response(200, schemas.CacheShown(), example=schemas.CACHE_EXAMPLE)
def show_cache(service_id: str) -> Json:
    """Show what a service keeps of its answers, and how often that did for a run"""
    service = _service(service_id)
    used = _cache().used(context.scope(), service.id)
    asked = used.hits + used.misses
    return {
        "entries": used.entries,
        "size_bytes": used.size_bytes,
        "limit_bytes": service.config.cache_max_bytes,
        "ttl_s": service.config.cache_ttl_s,
        "hits": used.hits,
        "misses": used.misses,
        "coalesced": used.coalesced,
        "hit_ratio": round(used.hits / asked, 4) if asked else None,
        "former_entries": used.former,
    }


@blueprint.route("/services/<service_id>/cache", methods=["DELETE"], needs=Role.OPERATOR)
@refuses(*READING, errors.ServiceNotFound)
@blueprint.response(200, schemas.CacheCleared(), example={"removed": 128})
def clear_cache(service_id: str) -> Json:
    """Forget all answers that a service keeps; what runs now may be kept again"""
    return {"removed": _cache().clear(context.scope(), _service(service_id).id)}


def _service(service_id: str) -> Service:
    """Of the caller's. Raises ServiceNotFound."""
    known = context.known_form(service_id, errors.ServiceNotFound, "service")
    return context.core().serving.services.get(context.scope(), known)


def _cache() -> ResultCache:
    cache = context.core().jobs.cache
    if cache is None:
        raise errors.StoreUnavailable("This process keeps no answers.", part="sql", retry_after_s=1)
    return cache
