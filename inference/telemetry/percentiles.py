"""Percentiles that can be added up: counts of durations in buckets that each are 2 % wider than the one before.

Of DDSketch (Masson, Rim, Lee: "DDSketch: a fast and fully-mergeable quantile sketch", VLDB 2019) this is the store with
sparse buckets, for durations only. Two sketches of different minutes merge without loss into that of both.
"""

import math
import sys
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from functools import cache
from itertools import accumulate
from operator import sub

ERROR = 0.01
"""A quantile is off by at most this share of itself."""
UNIT_S = 1e-6
"""Everything shorter counts as this long: the clocks behind it tell no more."""

_GAMMA = (1 + ERROR) / (1 - ERROR)
_LOG_GAMMA = math.log(_GAMMA)
_KINDS = {1: "B", 2: "H", 4: "I", 8: "Q"}
_MOST = 2_000
"""The last bucket: 7,000 years."""


class Sketch:
    """How many durations fell into which bucket. Not thread-safe.

    One that comes from bytes stays as it came until something is added: most are only asked for quantiles.
    """

    __slots__ = ("_known", "_text")

    def __init__(self, text: bytes = b"") -> None:
        self._text = text
        self._known: dict[int, int] | None = None if text else {}

    @property
    def _counts(self) -> dict[int, int]:
        if self._known is None:
            self._known = dict(self._pairs())
            self._text = b""
        return self._known

    def __len__(self) -> int:
        return sum(self._counts.values())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sketch) and self._counts == other._counts

    __hash__ = None  # type: ignore[assignment]  # it changes

    def add(self, seconds: Iterable[float]) -> None:
        """Counts each of these durations."""
        self.add_micros(round(duration / UNIT_S) for duration in seconds)

    def add_micros(self, micros: Iterable[int]) -> None:
        """`add`, in whole microseconds."""
        counts, log = self._counts, math.log
        for duration in micros:
            index = min(_MOST, math.ceil(log(duration) / _LOG_GAMMA)) if duration > 1 else 0
            counts[index] = counts.get(index, 0) + 1

    def merge(self, other: "Sketch") -> None:
        """Adds what the other one counted."""
        if not self._text and not self._known:
            self._text, self._known = other._text, None if other._text else dict(other._counts)
            return
        counts = self._counts
        get = counts.get
        for index, count in other._pairs():
            counts[index] = get(index, 0) + count

    def _pairs(self) -> Iterable[tuple[int, int]]:
        """Index and count of each bucket in use; what came as bytes stays as it is."""
        if self._known is not None:
            return self._known.items()
        first, distances, counts = _parts(self._text)
        pairs = zip(accumulate(distances, initial=first), counts, strict=True)
        return pairs if all(counts) else (pair for pair in pairs if pair[1])

    def quantile(self, share: float) -> float | None:
        """The duration, in seconds, below or at which this share of all lies, within `ERROR`; None of nothing.

        The nearest-rank definition: the 0.5-quantile of 1, 2, 3, 4 is 2.
        """
        return self.quantiles(share)[0]

    def quantiles(self, *shares: float) -> list[float | None]:
        """Several of them, for little more than one."""
        if self._text:
            first, distances, counts = _parts(self._text)
            reached = list(accumulate(counts))
            places = _places(reached, shares)
            return [_middle(first + sum(distances[:place])) for place in places]
        if not self._counts:
            return [None] * len(shares)
        indexes, ordered = zip(*sorted(self._counts.items()), strict=True)
        return [_middle(indexes[place]) for place in _places(list(accumulate(ordered)), shares)]

    def to_bytes(self) -> bytes:
        """Some 2 bytes for each bucket in use, in a form that is read without a loop: rows are read by the thousand.

        The width of a count, the first index (2 bytes), the distance of each index from the one before (1 byte; where
        it is larger, an empty bucket lies between), and the counts.
        """
        if self._text or not self._counts:
            return self._text
        indexes, counts = list[int](), list[int]()
        for index in sorted(self._counts):
            while indexes and index - indexes[-1] > 255:
                indexes.append(indexes[-1] + 255)
                counts.append(0)
            indexes.append(index)
            counts.append(self._counts[index])
        width = next(width for width in _KINDS if max(counts) < 1 << 8 * width)
        distances = bytes(map(sub, indexes[1:], indexes))
        packed = array(_KINDS[width], counts)
        if sys.byteorder == "big":
            packed.byteswap()
        return bytes([width]) + indexes[0].to_bytes(2, "little") + distances + packed.tobytes()

    @classmethod
    def of_bytes(cls, text: bytes | None) -> "Sketch":
        """What `to_bytes` wrote; an empty one of None."""
        return cls(bytes(text or b""))


def _parts(text: bytes) -> "tuple[int, bytes, array[int]]":
    """First index, distances, counts."""
    width, first = text[0], text[1] | text[2] << 8
    size = (len(text) - 2) // (1 + width)
    counts = array(_KINDS[width])
    counts.frombytes(text[2 + size :])
    if sys.byteorder == "big":
        counts.byteswap()
    return first, text[3 : 2 + size], counts


def _places(reached: Sequence[int], shares: Iterable[float]) -> list[int]:
    """In which bucket each quantile lies. `reached`: how many lie in it and before it."""
    count = reached[-1]
    return [bisect_left(reached, share * count) for share in shares]


@cache
def _middle(index: int) -> float:
    """The value that is at most `ERROR` away from both ends of a bucket."""
    return UNIT_S if index == 0 else UNIT_S * 2 * math.pow(_GAMMA, index) / (_GAMMA + 1)
