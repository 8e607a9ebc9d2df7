"""Prices, budgets and what was held, by day; and the service that a task was sent to where another one took it."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("asked_service_id", sa.String(length=32), nullable=True))
    op.create_table(
        "prices",
        sa.Column("device_kind", sa.String(length=128), nullable=False),
        sa.Column("purchase", sa.String(length=12), nullable=False),
        sa.Column("valid_from", sa.Double(), nullable=False),
        sa.Column("per_hour", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("device_kind", "purchase", "valid_from", name=op.f("pk_prices")),
    )
    op.create_table(
        "cost_days",
        sa.Column("day", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("tenant_id", sa.String(length=64), nullable=False),
        sa.Column("service_id", sa.String(length=32), nullable=False),
        sa.Column("device_kind", sa.String(length=128), nullable=False),
        sa.Column("purchase", sa.String(length=12), nullable=False),
        sa.Column("held_s", sa.Double(), nullable=False),
        sa.Column("cpu_s", sa.Double(), nullable=False),
        sa.Column("money", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("day", "tenant_id", "service_id", "device_kind", "purchase", name=op.f("pk_cost_days")),
    )
    op.create_index(op.f("ix_cost_days_tenant_id_day"), "cost_days", ["tenant_id", "day"])
    op.create_table(
        "cost_instances",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("service_id", sa.String(length=32), nullable=False),
        sa.Column("node_id", sa.String(length=128), nullable=False),
        sa.Column("device", sa.Text(), nullable=False),
        sa.Column("opened_at", sa.Double(), nullable=False),
        sa.Column("device_kind", sa.String(length=128), nullable=True),
        sa.Column("purchase", sa.String(length=12), nullable=True),
        sa.Column("units", sa.Double(), nullable=True),
        sa.Column("cpus", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cost_instances")),
    )
    op.create_index(op.f("ix_cost_instances_service_id"), "cost_instances", ["service_id"])
    op.create_table(
        "budgets",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("tenant_id", sa.String(length=64), nullable=False),
        sa.Column("service_id", sa.String(length=32), nullable=False),
        sa.Column("period", sa.String(length=8), nullable=False),
        sa.Column("of_system", sa.Boolean(), nullable=False),
        sa.Column("soft", sa.Double(), nullable=True),
        sa.Column("hard", sa.Double(), nullable=True),
        sa.Column("low_priority", sa.SmallInteger(), nullable=False),
        sa.Column("level", sa.String(length=8), nullable=False),
        sa.Column("judged_for", sa.Double(), nullable=False),
        sa.Column("level_at", sa.Double(), nullable=True),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("updated_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_budgets")),
        sa.UniqueConstraint(
            "tenant_id",
            "service_id",
            "period",
            "of_system",
            name=op.f("uq_budgets_tenant_id_service_id_period_of_system"),
        ),
    )


def downgrade() -> None:
    for table in ("budgets", "cost_instances", "cost_days", "prices"):
        op.drop_table(table)
    op.drop_column("jobs", "asked_service_id")
