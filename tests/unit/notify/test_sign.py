"""Signatures: what the public verifier of the Standard Webhooks scheme says of ours."""

import base64
import json
import time

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from inference.errors import InvalidField
from inference.notify import sign

BODY = json.dumps({"type": "task.finished"}).encode()


def signed(*keys: str, body: bytes = BODY) -> dict[str, str]:
    return sign.headers(event_id="a.1.finished", at_s=int(time.time()), body=body, keys=keys)


def test_the_public_verifier_accepts_our_signature():
    secret = sign.new_secret()

    verified = Webhook(secret).verify(BODY.decode(), signed(secret))

    assert verified == {"type": "task.finished"}


def test_a_receiver_may_change_to_the_new_secret_at_any_time_of_the_overlap():
    old, new = sign.new_secret(), sign.new_secret()
    headers = signed(new, old)

    for secret in (old, new):
        assert Webhook(secret).verify(BODY.decode(), headers)


@pytest.mark.parametrize(
    ("body", "secret"), [(b'{"type": "task.started"}', None), (BODY, sign.new_secret())], ids=["body", "secret"]
)
def test_another_body_or_secret_is_refused(body: bytes, secret: str | None):
    ours = sign.new_secret()

    with pytest.raises(WebhookVerificationError):
        Webhook(secret or ours).verify(body.decode(), signed(ours))


@pytest.mark.parametrize("length", [24, 32, 64])
def test_a_secret_of_ones_own_is_accepted_in_the_schemes_lengths(length: int):
    text = sign.PREFIX + base64.b64encode(b"k" * length).decode()

    assert sign.check_secret(text) == text


@pytest.mark.parametrize(
    "text", ["", "whsec_", "secret", "whsec_ä", "whsec_!!!!", sign.PREFIX + base64.b64encode(b"k" * 23).decode()]
)
def test_what_is_no_secret_is_refused(text: str):
    with pytest.raises(InvalidField):
        sign.check_secret(text)
