"""Which entries tell of the same trouble, and by which words entries are found."""

import pytest

from inference.logs.fingerprint import fingerprint, message, normal
from inference.logs.words import terms, words

SAME = [
    ("no room for 12 MB", "no room for 3.5e9 MB"),
    ("job 01a1f9dfae127b4abe70142505c343d5 lost", "job 01a1f9dfafde762fa4897653a41ba87c lost"),
    ("at 0x7ffd00 of /a/b.onnx", "at 0xdeadbeef of /models/c/d.onnx"),
    ("cannot read 'x'", 'cannot read "y z"'),
    ("GET https://a/b failed", "GET http://c:80/d?e=1 failed"),
    ("since 2026-11-20T06:30:00.1Z", "since 2025-01-01 00:00:00"),
    ("id 5f0c1f0e-7d1c-4f0e-8a57-0123456789ab", "id AF0C1F0E-7d1c-4f0e-8a57-0123456789ab"),
    ("shape (1, 3, 224, 224)", "shape (8, 3, 640, 640)"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_numbers_ids_paths_and_quotes_make_no_difference(one, other):
    assert normal(one) == normal(other)
    assert fingerprint("e", {"reason": one}) == fingerprint("e", {"reason": other})


def test_other_words_and_other_events_do():
    marks = {fingerprint(event, {"reason": text}) for event in ("a", "b") for text in ("no room", "no disk", "")}

    assert len(marks) == 6


def test_of_a_traceback_the_last_line_counts():
    traceback = 'Traceback (most recent call last):\n  File "x.py", line 3\nValueError: bad shape\n'

    assert message("load_failed", {"exception": traceback}) == "load_failed: ValueError: bad shape"


def test_words_are_letters_and_digits_in_any_script():
    assert words(["Job_Failed: RuntimeError(7) in /a/b.onnx", "显存不足 ok"]) == (
        "job failed runtimeerror 7 in a b onnx 显 存 不 足 ok"
    )


@pytest.mark.parametrize(
    ("keyword", "expected"),
    [
        ("one two", [["one"], ["two"]]),
        ('"one two" x', [["one", "two"], ["x"]]),
        ("a.b/c", [["a", "b", "c"]]),
        ('"unfinished quote', [["unfinished", "quote"]]),
        ("-- ' ; *", []),
        ("显存", [["显", "存"]]),
    ],
)
def test_a_keyword_is_terms_of_words(keyword, expected):
    assert terms(keyword) == expected
