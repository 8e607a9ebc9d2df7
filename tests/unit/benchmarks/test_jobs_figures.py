"""The figures of `bench jobs`: what is wanted of a job alone depends on the disk, and on nothing else."""

import pytest

from benchmarks import jobs


@pytest.mark.parametrize(("disk_ms", "allowed"), [(0.0, 0.0), (0.2, 0.0), (0.3, 0.9), (2.0, 6.0)])
def test_a_slow_disk_allows_a_job_alone_three_waits_more(disk_ms, allowed):
    assert jobs.disk_allowance_ms(disk_ms) == pytest.approx(allowed)


def test_latency_is_judged_at_both_rates_with_the_disk_it_was_measured_on():
    rates = [
        {"rate": rate, "done_ms": {"p50": 3.5, "p99": 8.5}, "fdatasync_ms": {"p50": disk_ms}}
        for rate, disk_ms in ((50.0, 0.1), (100.0, 0.1), (200.0, 0.3))
    ]

    rows = jobs._own_figures("tiny", {"done_per_s": 3_300.0, "cpu_s_per_1000": 0.4, "rates": rates})

    assert [(row["name"], row["is_reached"]) for row in rows] == [
        ("tiny: jobs/s submit to done", True),
        ("tiny: CPU s per 1,000 jobs", True),
        ("tiny: p50 ms at 50/s (fdatasync 0.10 ms)", False),
        ("tiny: p99 ms at 50/s (fdatasync 0.10 ms)", False),
        ("tiny: p50 ms at 200/s (fdatasync 0.30 ms)", True),
        ("tiny: p99 ms at 200/s (fdatasync 0.30 ms)", True),
    ]
