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


def downgrade() -> None:
    for name in ("target_reason", "target_instances", "target_replicas"):
        op.drop_column("services", name)
