"""Devices of the nodes, the leases that replicas hold on them, and what a model needs of them."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """`estimate` and `usage` are JSON; `memory_bytes` of a profile is what one instance was measured to take."""
    op.create_table(
        "devices",
        sa.Column("node_id", sa.String(length=128), nullable=False),
        sa.Column("uuid", sa.String(length=128), nullable=False),
        sa.Column("index", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("memory_bytes", sa.BigInteger(), nullable=False),
        sa.Column("source", sa.String(length=12), nullable=False),
        sa.Column("parent_uuid", sa.String(length=128), nullable=True),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("figures", sa.Text(), nullable=False),
        sa.Column("reported_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("node_id", "uuid", name=op.f("pk_devices")),
    )
    op.create_table(
        "leases",
        sa.Column("replica_id", sa.String(length=32), nullable=False),
        sa.Column("service_id", sa.String(length=32), nullable=False),
        sa.Column("node_id", sa.String(length=128), nullable=False),
        sa.Column("device", sa.String(length=128), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("is_whole", sa.Boolean(), nullable=False),
        sa.Column("card_bytes", sa.BigInteger(), nullable=False),
        sa.Column("cpu_milli", sa.BigInteger(), nullable=False),
        sa.Column("memory_bytes", sa.BigInteger(), nullable=False),
        sa.Column("wanted_card_bytes", sa.BigInteger(), nullable=False),
        sa.Column("wanted_cpu_milli", sa.BigInteger(), nullable=False),
        sa.Column("wanted_memory_bytes", sa.BigInteger(), nullable=False),
        sa.Column("for_id", sa.String(length=32), nullable=True),
        sa.Column("reserved_at", sa.Double(), nullable=False),
        sa.Column("allocated_at", sa.Double(), nullable=True),
        sa.Column("unloading_at", sa.Double(), nullable=True),
        sa.Column("owner_pid", sa.Integer(), nullable=True),
        sa.Column("owner_started", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("replica_id", name=op.f("pk_leases")),
    )
    op.create_index(op.f("ix_leases_node_id"), "leases", ["node_id"])
    op.create_index(op.f("ix_leases_for_id"), "leases", ["for_id"])
    op.add_column("models", sa.Column("estimate", sa.Text(), nullable=True))
    op.add_column("profiles", sa.Column("memory_bytes", sa.BigInteger(), nullable=True))
    op.add_column("profiles", sa.Column("memory_basis", sa.Text(), nullable=True))
    op.add_column("replicas", sa.Column("usage", sa.Text(), nullable=True))


def downgrade() -> None:
    """The columns go, and the figures with them."""
    op.drop_column("replicas", "usage")
    op.drop_column("profiles", "memory_basis")
    op.drop_column("profiles", "memory_bytes")
    op.drop_column("models", "estimate")
    op.drop_table("leases")
    op.drop_table("devices")
