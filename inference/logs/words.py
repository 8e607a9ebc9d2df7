"""How entries are found by their words: the same on both databases, since both are given words that are made here."""

import re
from collections.abc import Iterable, Sequence

MOST_CHARS = 4_000
MOST_TERMS = 12
MARKED = (30, 40, 50)
"""Levels from warning on."""
_CJK = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u3040-\u30ff\uac00-\ud7af"
_WORD = re.compile(rf"[{_CJK}]|[^\W_{_CJK}]+")
_TERM = re.compile(r'"([^"]*)"?|(\S+)')


def marks(service_id: str | None, level: int) -> Sequence[str]:
    """Words of no language, that stand for an entry's service and for the levels that it is at least of: with them a
    frequent word of a rare kind of entry is found through the index of words alone.
    """
    found = [f"zqs{service_id.lower()}"] if service_id is not None else []
    return [*found, *(f"zql{least}" for least in MARKED if level >= least)]


def words(texts: Iterable[str]) -> str:
    """All words, in lower case and in order, a blank between; Chinese characters count as a word each.

    What stands between words is no part of them: `a_b`, `a.b` and `a/b` are two words each.
    """
    return " ".join(_words(" ".join(texts)[:MOST_CHARS]))


def terms(keyword: str) -> Sequence[Sequence[str]]:
    """What an entry must have to be found: of each term all words, in order, side by side, the last one begun.

    Terms are separated by blanks; in quotes several words are one. Nothing in a keyword is an operator.
    """
    found = (_words(quoted or plain) for quoted, plain in _TERM.findall(keyword))
    return [words for words in found if words][:MOST_TERMS]


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())
