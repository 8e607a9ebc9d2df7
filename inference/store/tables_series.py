"""The table of measured series; `tables` shows it with all others."""

import sqlalchemy as sa

from inference.store.columns import ID, metadata

COUNTS = ("submitted", "completed", "failed", "other", "predictions")
SUMS = ("tasks_run", "batches", "latency_s", "run_s", "wait_s", "queue_s", "running_s")
GAUGES = ("instances", "cpu", "memory_bytes", "gpu_share", "gpu_memory_bytes")
SKETCHES = ("latencies", "waits")

series = sa.Table(
    "series",
    metadata,
    sa.Column("service_id", ID, primary_key=True),
    sa.Column("step_s", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("at", sa.BigInteger, primary_key=True, autoincrement=False),
    *(sa.Column(name, sa.BigInteger, nullable=False) for name in COUNTS),
    *(sa.Column(name, sa.Double, nullable=False) for name in SUMS),
    sa.Column("queue_most", sa.BigInteger, nullable=False),
    sa.Column("looks", sa.Integer, nullable=False),
    *(sa.Column(name, sa.Double) for name in GAUGES),
    sa.Column("gpu_source", sa.String(12)),
    sa.Column("errors", sa.Text),
    *(sa.Column(name, sa.LargeBinary) for name in SKETCHES),
    sa.Index(None, "step_s", "at"),
)
"""One row for a service and a span of `step_s` seconds that began at `at`; see `inference/telemetry/series.py`."""
