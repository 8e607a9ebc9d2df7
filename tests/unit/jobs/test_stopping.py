"""Whether an engine call is ended for the sake of its cancelled jobs."""

import pytest

from inference.jobs.stopping import UnderWay, should_stop


@pytest.mark.parametrize(
    ("jobs", "cancelled", "running_s", "expected_s", "stops"),
    [
        (4, 0, 100.0, 1.0, False),
        (4, 4, 0.3, 0.4, True),
        (1, 1, 0.3, 60.0, True),
        (4, 1, 0.5, 1.0, False),
        (4, 3, 0.5, 2.4, False),
        (4, 1, 0.5, 2.6, True),
        (4, 1, 1.5, 1.0, False),
        (4, 1, 2.5, 1.0, True),
        (4, 1, 0.5, 0.0, True),
        (4, 1, 0.1, 0.0, False),
        (4, 1, 0.5, 0.01, True),
        (4, 1, 0.5, 0.1, False),
    ],
)
def test_a_call_is_ended_when_nobody_wants_it_or_it_would_go_on_for_long(
    jobs: int, cancelled: int, running_s: float, expected_s: float, stops: bool
):
    call = UnderWay(jobs=jobs, cancelled=cancelled, running_s=running_s, expected_s=expected_s)

    assert should_stop(call) is stops
