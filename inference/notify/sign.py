"""Signs webhooks after the Standard Webhooks scheme, so that its public verifier libraries accept them."""

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Sequence

from inference.errors import InvalidField

PREFIX = "whsec_"
SECRET_BYTES = 32
SHORTEST, LONGEST = 24, 64


def new_secret() -> str:
    """`whsec_` and 32 random bytes in base64."""
    return PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def check_secret(text: str) -> str:
    """The secret, when it is one: `whsec_` and 24 to 64 bytes in base64. Raises InvalidField."""
    try:
        key = base64.b64decode(text.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not text.startswith(PREFIX) or not SHORTEST <= len(key) <= LONGEST:
        raise InvalidField(
            f"A webhook secret is `{PREFIX}` and {SHORTEST} to {LONGEST} bytes in base64.", field="secret"
        )
    return text


def headers(*, event_id: str, at_s: int, body: bytes, keys: Sequence[str]) -> dict[str, str]:
    """The three headers of one attempt, at `at_s` epoch seconds, signed with each of `keys`, newest first.

    Each secret gives one signature, so that a receiver may change to a new one at any time of an overlap.
    Source: the Standard Webhooks specification, version 1: HMAC-SHA256 over `id.timestamp.body`, in base64.
    """
    content = f"{event_id}.{at_s}.".encode() + body
    signatures = [
        "v1," + base64.b64encode(hmac.new(_bytes(key), content, hashlib.sha256).digest()).decode() for key in keys
    ]
    return {"webhook-id": event_id, "webhook-timestamp": str(at_s), "webhook-signature": " ".join(signatures)}


def _bytes(key: str) -> bytes:
    return base64.b64decode(key.removeprefix(PREFIX))
