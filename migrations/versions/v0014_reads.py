"""Indexes for what is asked of a million rows: tasks that went wrong."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

BAD = "state IN ('cancelled', 'dead', 'expired', 'failed')"


def upgrade() -> None:
    for name, column in (("ix_jobs_service_bad", "service_id"), ("ix_jobs_tenant_bad", "tenant_id")):
        bad = sa.text(BAD)
        op.create_index(name, "jobs", [column, "id"], sqlite_where=bad, postgresql_where=bad)


def downgrade() -> None:
    op.drop_index("ix_jobs_tenant_bad", "jobs")
    op.drop_index("ix_jobs_service_bad", "jobs")
