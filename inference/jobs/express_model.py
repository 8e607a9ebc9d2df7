"""What crosses the walls of the express lane: a prediction asked for, in the hands of an instance, and answered."""

import msgspec

from inference.jobs.cache_model import Kept
from inference.jobs.model import ClaimedJob


class ExpressJob(ClaimedJob, frozen=True, kw_only=True):
    """A prediction in the hands of an instance, as the engine's side sees any job. `asker`: the process that waits."""

    asker: str


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A prediction that is about to wait. `deadline`: epoch seconds when nobody waits for it any more.

    `metadata_json`: the trace that it belongs to, as `jobs.trace` keeps it; nothing else. `kept`: its answer, where an
    equal input has one already: then there is nothing to wait for.
    """

    id: str
    service_id: str
    slots: int
    order_key: float
    tenant_id: str
    key_id: str | None
    priority: int
    submitted_at: float
    deadline: float
    timeout_s: float
    bucket: str
    rows: int
    payload: bytes
    metadata_json: str | None = None
    input_key: str | None = None
    kept: Kept | None = None


class Told(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """How a prediction ended: `result` (JSON), or else the code and sentence of what went wrong. Also on the wire."""

    id: str
    result: bytes | None
    model_version: str = ""
    error_code: str = ""
    error_message: str = ""


class Taken(msgspec.Struct, frozen=True, kw_only=True):
    """One exchange with the lane. `left`: how many wait still. `is_woken`: new jobs were rung for meanwhile."""

    jobs: tuple[ExpressJob, ...] = ()
    left: int = 0
    is_woken: bool = False
