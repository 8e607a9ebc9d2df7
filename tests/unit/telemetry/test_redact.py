"""What never stands in a log."""

import pytest

from inference.access import token
from inference.telemetry.redact import PAYLOAD, SECRET, redacted, text

KEY = token.make().text


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"password": "hunter2"}, {"password": SECRET}),
        ({"DbPassword": "x", "old_passwd": 1}, {"DbPassword": SECRET, "old_passwd": SECRET}),
        (
            {"headers": {"Authorization": "Bearer abc", "X-API-Key": "a"}},
            {"headers": {"Authorization": SECRET, "X-API-Key": SECRET}},
        ),
        ({"hook": [{"client_secret": ["a", "b"]}]}, {"hook": [{"client_secret": SECRET}]}),
        ({"webhook_token": None, "has_secret": True}, {"webhook_token": None, "has_secret": True}),
        ({"max_tokens": 12, "tokens": 3}, {"max_tokens": 12, "tokens": 3}),
        (
            {"input_data": {"x": [1.5]}, "inputs": [1], "payload": b"1"},
            dict.fromkeys(("input_data", "inputs", "payload"), PAYLOAD),
        ),
        ({"prompt": "who am I", "messages": [{"role": "user"}]}, {"prompt": PAYLOAD, "messages": PAYLOAD}),
        ({"outputs": 3, "results": 7}, {"outputs": 3, "results": 7}),
        ({"raw": b"\x00\x01"}, {"raw": PAYLOAD}),
        (
            {"event": "job_failed", "reason": "no room", "count": 3},
            {"event": "job_failed", "reason": "no room", "count": 3},
        ),
    ],
)
def test_fields_that_are_named_for_secrets_or_payloads_do_not_show_them(fields, expected):
    assert redacted(fields) == expected


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (f"key {KEY} is wrong", f"key {KEY[:16]}_[secret] is wrong"),
        ("redis://:pw@h:6379/0 is away", "redis://[secret]@h:6379/0 is away"),
        ("postgresql://user:p%40ss@db/penstock", "postgresql://[secret]@db/penstock"),
        ("https://host/path?x=1", "https://host/path?x=1"),
        ("Authorization: Bearer eyJhbGciOi.abc", "Authorization: Bearer [secret]"),
        ("password=hunter2, host=h", "password=[secret], host=h"),
        ('{"api_key": "abc"}', '{"api_key": "[secret]"}'),
        ("-----BEGIN RSA PRIVATE KEY-----\nMII\n-----END RSA PRIVATE KEY-----", "[secret]"),
        ("nothing of that", "nothing of that"),
    ],
)
def test_texts_that_look_like_secrets_lose_them(said, shown):
    assert text(said) == shown


def test_what_is_nested_very_deeply_is_left_out():
    deep = {"a": "end"}
    for _ in range(20):
        deep = {"a": deep}

    assert PAYLOAD in str(redacted(deep))
    assert "end" not in str(redacted(deep))
