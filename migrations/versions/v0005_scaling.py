"""What the autoscaler wants, what it decided, and why."""

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Filled in by the commits that follow."""


def downgrade() -> None:
    """Filled in by the commits that follow."""
