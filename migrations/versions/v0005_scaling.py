"""What the autoscaler wants, what it decided, and why."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("services", sa.Column("target_replicas", sa.Integer(), nullable=True))
    op.add_column("services", sa.Column("target_instances", sa.Integer(), nullable=True))
    op.add_column("services", sa.Column("target_reason", sa.Text(), nullable=True))
    for name in ("began_at", "ready_at", "busy_at"):
        op.add_column("replicas", sa.Column(name, sa.Double(), nullable=True))
    op.create_table(
        "scaling",
        sa.Column("service_id", sa.String(length=32), nullable=False),
        sa.Column("memory", sa.Text(), nullable=False),
        sa.Column("start_s", sa.Double(), nullable=True),
        sa.Column("work_s", sa.Double(), nullable=True),
        sa.Column("saved_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("service_id", name=op.f("pk_scaling")),
    )
    op.create_table(
        "scaling_decisions",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("tenant_id", sa.String(length=64), nullable=False),
        sa.Column("service_id", sa.String(length=32), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("from_replicas", sa.Integer(), nullable=False),
        sa.Column("from_instances", sa.Integer(), nullable=False),
        sa.Column("to_replicas", sa.Integer(), nullable=False),
        sa.Column("to_instances", sa.Integer(), nullable=False),
        sa.Column("policy", sa.String(length=32), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("signals", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_scaling_decisions")),
    )
    op.create_index(op.f("ix_scaling_decisions_service_id_id"), "scaling_decisions", ["service_id", "id"])
    op.create_index(op.f("ix_scaling_decisions_tenant_id_id"), "scaling_decisions", ["tenant_id", "id"])


def downgrade() -> None:
    op.drop_table("scaling_decisions")
    op.drop_table("scaling")
    for name in ("busy_at", "ready_at", "began_at"):
        op.drop_column("replicas", name)
    for name in ("target_reason", "target_instances", "target_replicas"):
        op.drop_column("services", name)
