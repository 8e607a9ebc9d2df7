"""Two sides of a service: figures that are right at their ends."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.results.sides import percentile, shift

SHARES = st.dictionaries(st.integers(0, 5), st.floats(0.01, 1.0), min_size=1, max_size=4).map(
    lambda given: {key: value / sum(given.values()) for key, value in given.items()}
)


def test_percentiles_are_by_nearest_rank():
    assert percentile([], 0.5) is None
    assert [percentile([1.0, 2.0, 3.0, 4.0], share) for share in (0.0, 0.25, 0.5, 0.95, 1.0)] == [1, 1, 2, 4, 4]


@given(SHARES, SHARES)
def test_a_shift_is_a_distance_between_0_and_1(first, second):
    found = shift(first, second)

    assert shift(first, first) == 0.0
    assert found == pytest.approx(shift(second, first))
    assert 0.0 <= found <= 1.0 + 1e-9
    assert found == pytest.approx(1.0) or set(first) & set(second)
