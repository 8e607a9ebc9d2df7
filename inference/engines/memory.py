"""What a model's weights and activations take of memory, as its trial run shows.

Activations come from ONNX Runtime's node memory statistics (`session.collect_node_memory_stats_to_file`), which know
each node's own tensors, and not when they are given back; see `activation_bytes`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

MAX_BYTES = 1 << 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """What the nodes of a graph allocated in a call of `rows` rows: all together, and the largest of them."""

    rows: int
    total_bytes: int
    largest_bytes: int


@runtime_checkable
class Accountable(Protocol):
    """An engine that knows what its model takes."""

    def weight_bytes(self) -> int: ...

    def statistics(self, *, rows: int) -> Statistics | None:
        """Of the largest call so far, which had this many rows; None if it keeps none."""
        ...


def read_statistics(text: str, *, rows: int) -> Statistics | None:
    """From the CSV that ONNX Runtime writes: name, inputs, initializers, outputs, scratch; None where it has no node.

    Source: `NodeStatsRecorder` of ONNX Runtime; a node's name may hold any character, so columns count from the end.
    """
    found = [sizes for line in text.splitlines() if (sizes := _sizes(line)) is not None]
    if not found:
        return None
    return Statistics(
        rows=rows,
        total_bytes=sum(outputs + scratch for _, outputs, scratch in found),
        largest_bytes=max(sum(sizes) for sizes in found),
    )


def _sizes(line: str) -> tuple[int, int, int] | None:
    columns = line.rsplit(",", 4)
    if line.startswith("#") or len(columns) != 5 or not all(column.isdigit() for column in columns[1:]):
        return None
    return int(columns[1]), int(columns[3]), int(columns[4])


def activation_bytes(seen: Statistics) -> int:
    """What the call held at its peak, by a rule that errs upwards: the larger of half of all that the nodes allocated
    and twice what the largest of them held.

    Measured here (peak growth of the process, batch 16 to 64): 18 MB where the rule says 36 (a convolution model), 50
    to 100 where it says 102 (transformer layers), 49 to 73 where it says 116 (ResNet-18). All that the nodes
    allocated would be 36, 204 and 95.
    """
    return max(2 * seen.largest_bytes, seen.total_bytes // 2)


def of_trial(*, weight_bytes: int, seen: Iterable[Statistics]) -> dict[str, Any]:
    """What a model version keeps, from calls of different sizes: `weight_bytes`, and activations as a line in rows.

    Without a call it says nothing of activations; from calls of one size they grow in proportion.
    """
    estimate: dict[str, Any] = {"weight_bytes": min(weight_bytes, MAX_BYTES)}
    points = {one.rows: activation_bytes(one) for one in seen if one.rows > 0}
    if points:
        few, many = min(points), max(points)
        steps = max(many - few, 1)
        row = max(points[many] - points[few], 0) / steps if many > few else points[few] / few
        estimate |= {"row_bytes": round(row), "fixed_bytes": max(round(points[few] - row * few), 0), "rows_seen": many}
    return estimate
