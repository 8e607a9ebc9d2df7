"""Alert rules, silences and what fired."""

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Filled in by the commits that follow."""


def downgrade() -> None:
    """Filled in by the commits that follow."""
