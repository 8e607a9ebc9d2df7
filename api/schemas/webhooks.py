"""The wire form of webhooks' deliveries and secrets."""

from typing import Any

import marshmallow as ma
from marshmallow import fields, validate

from api.schemas.common import time_field
from inference import clock
from inference.notify.model import Delivery, DeliveryState

DAY_S = 86_400.0


class DeliveryShown(ma.Schema):
    event_id = fields.String(metadata={"description": "The header webhook-id, the same at every attempt"})
    event = fields.String(validate=validate.OneOf(("finished", "started")))
    status = fields.String(validate=validate.OneOf([state.value for state in DeliveryState]))
    url = fields.String()
    attempts = fields.Integer()
    created_at = time_field("When the task moved", nullable=False)
    next_attempt_at = time_field("Null once it is settled")
    delivered_at = time_field("When the receiver answered 2xx")
    last_status = fields.Integer(allow_none=True, metadata={"description": "The receiver's HTTP status"})
    last_error = fields.String(allow_none=True)


class Deliveries(ma.Schema):
    webhooks = fields.List(fields.Nested(DeliveryShown))


class Resent(ma.Schema):
    resent = fields.List(fields.String(), metadata={"description": "Event ids"})


class Secrets(ma.Schema):
    secrets = fields.List(fields.String(), metadata={"description": "whsec_... , as the public verifiers take it"})


class SecretRotateIn(ma.Schema):
    secret = fields.String(
        load_default=None,
        allow_none=True,
        validate=validate.Length(max=128),
        metadata={
            "description": "Your own: whsec_ and 24 to 64 bytes in base64. Default: a random one",
            "pattern": "^whsec_[A-Za-z0-9+/]{32,86}={0,2}$",
        },
    )
    overlap_s = fields.Float(
        load_default=DAY_S,
        validate=validate.Range(0, 30 * DAY_S),
        metadata={"description": "How long the secret before it goes on signing, too"},
    )


def shown(one: Delivery) -> dict[str, Any]:
    """One delivery as it is shown."""
    return {
        "event_id": one.id,
        "event": one.event,
        "status": one.state.value,
        "url": one.url,
        "attempts": one.attempts,
        "created_at": clock.iso(one.created_at),
        "next_attempt_at": clock.iso(one.due_at) if one.state is DeliveryState.PENDING else None,
        "delivered_at": clock.iso(one.delivered_at),
        "last_status": one.last_status,
        "last_error": one.last_error,
    }
