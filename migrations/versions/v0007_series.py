"""Measured series of services: seconds, minutes and hours."""

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Filled in by the commits that follow."""


def downgrade() -> None:
    """Filled in by the commits that follow."""
