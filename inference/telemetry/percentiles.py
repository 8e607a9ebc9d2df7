"""Percentiles that can be added up: counts of durations in buckets that each are 2 % wider than the one before.

Of DDSketch (Masson, Rim, Lee: "DDSketch: a fast and fully-mergeable quantile sketch", VLDB 2019) this is the store with
sparse buckets, for durations only. Two sketches of different minutes merge without loss into that of both.
"""

import math
from collections.abc import Iterable, Mapping

ERROR = 0.01
"""A quantile is off by at most this share of itself."""
UNIT_S = 1e-6
"""Everything shorter counts as this long: the clocks behind it tell no more."""

_GAMMA = (1 + ERROR) / (1 - ERROR)
_LOG_GAMMA = math.log(_GAMMA)
_MOST = 2_000
"""The last bucket: 7,000 years."""


class Sketch:
    """How many durations fell into which bucket. Not thread-safe."""

    __slots__ = ("_counts",)

    def __init__(self, counts: Mapping[int, int] | None = None) -> None:
        self._counts: dict[int, int] = dict(counts or {})

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
        for index, count in other._counts.items():
            self._counts[index] = self._counts.get(index, 0) + count

    def quantile(self, share: float) -> float | None:
        """The duration, in seconds, below or at which this share of all lies, within `ERROR`; None of nothing.

        The nearest-rank definition: the 0.5-quantile of 1, 2, 3, 4 is 2.
        """
        rank, seen = max(1, math.ceil(share * len(self))), 0
        for index in sorted(self._counts):
            seen += self._counts[index]
            if seen >= rank:
                return _middle(index)
        return None

    def to_bytes(self) -> bytes:
        """Some 2 to 3 bytes for each bucket in use: its distance from the one before, and its count, as varints."""
        out, last = bytearray(), 0
        for index in sorted(self._counts):
            _put(out, index - last)
            _put(out, self._counts[index])
            last = index
        return bytes(out)

    @classmethod
    def of_bytes(cls, text: bytes | None) -> "Sketch":
        """What `to_bytes` wrote; an empty one of None."""
        numbers, number, shift = list[int](), 0, 0
        for byte in text or b"":
            number |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                numbers.append(number)
                number = shift = 0
        found, index = cls(), 0
        for distance, count in zip(numbers[::2], numbers[1::2], strict=True):
            index += distance
            found._counts[index] = count
        return found


def _middle(index: int) -> float:
    """The value that is at most `ERROR` away from both ends of a bucket."""
    return UNIT_S if index == 0 else UNIT_S * 2 * math.pow(_GAMMA, index) / (_GAMMA + 1)


def _put(out: bytearray, number: int) -> None:
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
