"""Usage on the wire: what is asked of it, and how it is shown."""

from collections.abc import Sequence
from typing import Any

import marshmallow as ma
from marshmallow import fields, validate

from api.schemas.access import KEY_ID_PATTERN
from api.schemas.common import AN_ID, ID_PATTERN
from inference import clock
from inference.access.ports import UsageGroup, Used
from inference.access.quotas import DAY_S
from inference.clock import ISO_FORM
from inference.errors import InvalidField

FIRST_DAY, LAST_DAY = -719_162, 2_932_896
"""Years 1 to 9999: what a date can say."""
A_DAY = "2026-11-20"
USAGE_EXAMPLE = {
    "from": A_DAY,
    "to": "2026-11-21",
    "group_by": "service",
    "usage": [{"service_id": AN_ID, "jobs": 1200, "rows": 1200, "gpu_seconds": 3.25}],
}


class DaysQuery(ma.Schema):
    """Days are UTC; a time within a day means the whole of it."""

    from_ = fields.String(
        load_default=None,
        data_key="from",
        metadata={"description": "First day; 30 days ago without it", "pattern": f"^{ISO_FORM}$", "example": A_DAY},
    )
    to = fields.String(
        load_default=None,
        metadata={"description": "Until this day, without it; tomorrow unless said", "pattern": f"^{ISO_FORM}$"},
    )


class UsageQuery(DaysQuery):
    group_by = fields.String(
        load_default=UsageGroup.DAY.value,
        validate=validate.OneOf([group.value for group in UsageGroup], error="It must be one of {choices}."),
    )


class UsedShown(ma.Schema):
    """One of `key_id` (null: without a key), `service_id` and `day` says of what."""

    key_id = fields.String(allow_none=True, metadata={"pattern": KEY_ID_PATTERN})
    service_id = fields.String(metadata={"pattern": ID_PATTERN, "example": AN_ID})
    day = fields.String(metadata={"format": "date", "example": A_DAY})
    jobs = fields.Integer(metadata={"description": "Tasks that ended as completed or failed"})
    rows = fields.Integer(metadata={"description": "Rows of their inputs"})
    gpu_seconds = fields.Float(
        metadata={"description": "Engine time of all attempts, each its share of the batch; on a CPU engine, too"}
    )


class UsageShown(ma.Schema):
    from_ = fields.String(data_key="from", metadata={"format": "date"})
    to = fields.String(metadata={"format": "date"})
    group_by = fields.String()
    usage = fields.List(fields.Nested(UsedShown()))


def days(day_from: float | None, day_to: float | None, *, now: float) -> tuple[int, int]:
    """Days since 1970, from the first to before the last, of two instants. Raises InvalidField for an end before."""
    if day_from is not None and day_to is not None and day_to < day_from:
        raise InvalidField("`to` lies before `from`; a range goes from the earlier to the later time.", field="to")
    today = int(now // DAY_S)
    first = today - 30 if day_from is None else int(day_from // DAY_S)
    last = today + 1 if day_to is None else int(-(-day_to // DAY_S))
    return max(first, FIRST_DAY), min(max(last, FIRST_DAY), LAST_DAY)


def shown(used: Sequence[Used], *, first: int, last: int, group_by: UsageGroup) -> dict[str, Any]:
    return {
        "from_": _date(first),
        "to": _date(last),
        "group_by": group_by.value,
        "usage": [
            {**_group(one.group, group_by), "jobs": one.jobs, "rows": one.rows, "gpu_seconds": round(one.engine_s, 6)}
            for one in used
        ],
    }


def _group(group: str, group_by: UsageGroup) -> dict[str, str | None]:
    if group_by is UsageGroup.DAY:
        return {"day": _date(int(group))}
    return {f"{group_by.value}_id": group or None}


def _date(day: int) -> str:
    return (clock.iso(day * DAY_S) or "")[:10]
