"""Measured series of services: seconds, minutes and hours."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

COUNTS = ("submitted", "completed", "failed", "other", "predictions")
SUMS = ("tasks_run", "batches", "latency_s", "run_s", "wait_s", "queue_s", "running_s")
GAUGES = ("instances", "cpu", "memory_bytes", "gpu_share", "gpu_memory_bytes")


def upgrade() -> None:
    """A row stands for one span of a service in which something happened; see `inference/telemetry/series.py`."""
    op.create_table(
        "series",
        sa.Column("service_id", sa.String(length=32), nullable=False),
        sa.Column("step_s", sa.Integer(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in COUNTS),
        *(sa.Column(name, sa.Double(), nullable=False) for name in SUMS),
        sa.Column("queue_most", sa.BigInteger(), nullable=False),
        sa.Column("looks", sa.Integer(), nullable=False),
        *(sa.Column(name, sa.Double(), nullable=True) for name in GAUGES),
        sa.Column("gpu_source", sa.String(length=12), nullable=True),
        sa.Column("errors", sa.Text(), nullable=True),
        *(sa.Column(name, sa.LargeBinary(), nullable=True) for name in ("latencies", "waits")),
        sa.PrimaryKeyConstraint("service_id", "step_s", "at", name=op.f("pk_series")),
    )
    op.create_index(op.f("ix_series_step_s_at"), "series", ["step_s", "at"])


def downgrade() -> None:
    """The series go."""
    op.drop_table("series")
