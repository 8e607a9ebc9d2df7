"""What the audit record tells of a change: what differs, nothing secret, nothing endless."""

import dataclasses
import json
from enum import StrEnum

import pytest

from inference.access import token
from inference.access.difference import HIDDEN, MAX_LENGTH, difference, safe_text


class Colour(StrEnum):
    RED = "red"


@dataclasses.dataclass(frozen=True, slots=True)
class Size:
    width: float
    colour: Colour


@pytest.mark.parametrize(
    ("before", "after", "old", "new"),
    [
        (None, {"a": 1}, {}, {"a": 1}),
        ({"a": 1}, None, {"a": 1}, {}),
        ({"a": 1, "b": 2}, {"a": 1, "b": 3}, {"b": 2}, {"b": 3}),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}}, {"a": {"c": 2}}, {"a": {"c": 3}}),
        ({"a": {"b": 1}}, {"a": {"b": 1, "c": 3}}, {"a": {}}, {"a": {"c": 3}}),
        ({"a": [1, 2]}, {"a": [1, 3]}, {"a": [1, 2]}, {"a": [1, 3]}),
        ({"a": 1}, {"a": True}, {"a": 1}, {"a": True}),
        ({"a": None}, {}, {"a": None}, {}),
        ({"a": 1}, {"a": 1}, {}, {}),
        ({"a": {"b": 1}}, {"a": {"b": 1}}, {}, {}),
    ],
)
def test_only_what_differs_is_told(before, after, old, new):
    assert difference(before, after) == (old, new)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (Colour.RED, "red"),
        (Size(2.0, Colour.RED), {"width": 2, "colour": "red"}),
        (300.0, 300),
        (0.25, 0.25),
        (1e-9, "1e-09"),
        (1e300, "1e+300"),
        (float("nan"), "nan"),
        (float("inf"), "inf"),
        (2**60, str(2**60)),
        ((1, 2), [1, 2]),
        (b"\x00\x01", HIDDEN),
        ("a\0b", "ab"),
        ("half \ud800", "half ?"),
        ("x" * 600, "x" * 497 + "..."),
        (list(range(102)), [*range(100), "[2 more]"]),
    ],
)
def test_values_become_plain_json(value, told):
    _, new = difference(None, {"a": value})

    assert new == {"a": told}
    assert json.loads(json.dumps(new, allow_nan=False)) == new


@pytest.mark.parametrize(
    "name",
    ["password", "db_passwd", "passphrase", "client_secret", "SECRET", "token", "apiToken", "api_key", "apiKey",
     "apikey", "db_pass", "pwd", "sshKey", "ACCESS_KEY", "keys", "digest", "previous_digest", "Authorization",
     "credentials", "private", "Cookie"],
)  # fmt: skip
def test_what_a_name_calls_secret_is_hidden_at_every_depth(name):
    values = {"a": [{"b": {name: "hunter2"}}], name: {"x": "hunter2"}}

    old, new = difference({name: "hunter1"}, values)

    assert "hunter" not in json.dumps([old, new])
    assert (old[name], new[name], new["a"][0]["b"][name]) == (HIDDEN, HIDDEN, HIDDEN)


@pytest.mark.parametrize("name", ["name", "key_id", "keyboard", "tokenizer", "workspace", "sha256", "passes"])
def test_a_name_that_speaks_of_no_secret_is_told(name):
    assert difference(None, {name: "seen"})[1] == {name: "seen"}


def test_whether_there_is_a_secret_is_told():
    assert difference({"token": None}, {"token": "hunter2"}) == ({"token": None}, {"token": HIDDEN})


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("redis://:hunter2@host:6379/0", f"redis://{HIDDEN}@host:6379/0"),
        ("at postgresql://u:hun@ter/2@db/x, twice", f"at postgresql://{HIDDEN}@db/x, twice"),
        ("https://h/p?a=1&token=hunter2&b=2", f"https://h/p?a=1&token={HIDDEN}&b=2"),
        ("https://h/p?X-Amz-Signature=hunter2", f"https://h/p?X-Amz-Signature={HIDDEN}"),
        ("Authorization: Bearer hunter2", f"Authorization: Bearer {HIDDEN}"),
        ("https://host/path?a=1", "https://host/path?a=1"),
        ("somebody@example.org", "somebody@example.org"),
    ],
)
def test_secrets_in_texts_are_hidden(text, told):
    assert safe_text(text) == told


def test_a_key_of_ours_is_hidden_wherever_it_stands():
    made = token.make()

    told = safe_text(f"DELETE /keys/{made.text} and {made.text[:-30]}")

    assert made.text[20:40] not in told
    assert made.id in told


def test_what_is_too_much_is_cut_and_said_to_be():
    deep: dict[str, object] = {}
    for _ in range(50):
        deep = {"a": deep}

    assert "[deeper]" in json.dumps(difference(None, deep)[1])
    assert difference(None, {str(i): i for i in range(150)})[1]["[more]"] == 50
    assert list(difference(None, {str(i): "x" * 400 for i in range(100)})[1]) == ["[too long]"]
    assert MAX_LENGTH < 20_000
