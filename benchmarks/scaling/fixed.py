"""A fleet of one size."""

from dataclasses import dataclass

from benchmarks.scaling.simulate import Fleet


@dataclass(frozen=True, slots=True, kw_only=True)
class Fixed:
    """`first` instances, from the first job to the last."""

    first: int
    every_s: float = 60.0

    def wanted(self, fleet: Fleet) -> int:
        """As many as there are."""
        return self.first
