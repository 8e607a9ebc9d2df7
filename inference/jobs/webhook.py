"""What a webhook says: the task, as `GET /tasks/{id}` shows it at the moment of sending."""

import orjson

from inference import clock
from inference.jobs.model import JobView
from inference.jobs.ports import JobStore
from inference.jobs.shown import fields
from inference.jobs.trace import trace_of
from inference.notify.model import Delivery
from inference.tracing import Context


def body(store: JobStore, delivery: Delivery) -> bytes:
    """JSON of `{type, timestamp, data}`, the form that the Standard Webhooks scheme recommends.

    Once the task is gone or has moved on (retried, for instance), `data` holds its ids and the state that it had.
    Raises StoreUnavailable.
    """
    return orjson.dumps(
        {
            "type": f"task.{delivery.event}",
            "timestamp": clock.iso(delivery.created_at),
            "data": _data(store, delivery),
        }
    )


def trace(store: JobStore, delivery: Delivery) -> Context | None:
    """To which trace the task belongs, if to any. Raises StoreUnavailable."""
    return next((trace_of(view.metadata_json) for _, view in store.views([delivery.job_id])), None)


def _data(store: JobStore, delivery: Delivery) -> dict[str, object]:
    view = next((view for tenant_id, view in store.views([delivery.job_id]) if tenant_id == delivery.tenant_id), None)
    if view is not None and _is_still(view, delivery):
        return fields(view, with_result=True)
    return {"task_id": delivery.job_id, "service_id": delivery.service_id, "status": delivery.job_state}


def _is_still(view: JobView, delivery: Delivery) -> bool:
    return view.state.value == delivery.job_state
