"""Devices of the nodes, and the leases that replicas hold on them."""

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Filled in by the commits that follow."""


def downgrade() -> None:
    """Filled in by the commits that follow."""
