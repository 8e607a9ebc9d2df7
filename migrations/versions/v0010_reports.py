"""Reports, the result cache and payloads by reference."""

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Filled in by the commits that follow."""


def downgrade() -> None:
    """Filled in by the commits that follow."""
