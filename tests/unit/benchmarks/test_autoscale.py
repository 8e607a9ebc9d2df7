"""`bench autoscale`: the report that others read, and its tables."""

import random
from datetime import datetime, timedelta

import pytest
from rich.console import Console

from benchmarks import autoscale, machine


@pytest.fixture
def quiet_machine(monkeypatch):
    """Where this runs is no matter of the report's form, and takes seconds to find out."""
    found = {"cpu": "one", "cores": 2, "memory_gib": 1, "python": "3", "disk": "none", "commit": "0", "at": "now"}
    monkeypatch.setattr(machine, "describe", lambda _: found | {"fdatasync_ms": {"p50": 0.1}, "busy_share_before": 0.0})


def test_a_trace_of_ones_own_gives_the_figures_that_others_read(tmp_path, quiet_machine, capsys):
    draw, at = random.Random(1), datetime(2026, 1, 1)
    rows = []
    for _ in range(150):
        at += timedelta(seconds=draw.expovariate(2.0))
        rows.append(f"{at:%Y-%m-%d %H:%M:%S}.{at.microsecond:06}0,{draw.randrange(500)},{draw.randrange(1, 50)}")
    file = tmp_path / "own.csv"
    file.write_text("\n".join(["TIMESTAMP,ContextTokens,GeneratedTokens", *rows]) + "\n")

    report = autoscale.run(file, is_quick=True)
    autoscale.show(report, Console(width=120))

    ours = report["policies"]["slo_drain"]
    assert {"attainment_mean", "attainment_worst", "worker_hours"} <= ours.keys()
    assert {"thresholds", "ray_default", "keda_list", "knative_kpa", "sagemaker_backlog", "fixed_peak"} <= report[
        "policies"
    ].keys()
    assert len(ours["cells"]) == 16
    assert report["ratios"]["ray_default"] == pytest.approx(
        ours["worker_hours"] / report["policies"]["ray_default"]["worker_hours"], abs=1e-3
    )
    assert len(report["figures"]) == 6
    assert "150 jobs" in capsys.readouterr().out
