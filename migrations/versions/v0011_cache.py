"""Results that identical inputs share: whose input is alike, and what was answered."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("input_key", sa.String(length=64), nullable=True))
    waits = sa.text("state = 'pending' AND input_key IS NOT NULL")
    op.create_index("ix_jobs_input_key", "jobs", ["input_key"], sqlite_where=waits, postgresql_where=waits)
    op.create_table(
        "result_cache",
        sa.Column("input_key", sa.String(length=64), nullable=False),
        sa.Column("service_id", sa.String(length=32), nullable=False),
        sa.Column("model_id", sa.String(length=32), nullable=False),
        sa.Column("model_version", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=False),
        sa.Column("used_at", sa.Double(), nullable=False),
        sa.Column("hits", sa.BigInteger(), nullable=False),
        sa.Column("runs", sa.BigInteger(), nullable=False),
        sa.Column("shared", sa.BigInteger(), nullable=False),
        sa.Column("size_bytes", sa.Integer(), nullable=False),
        sa.Column("bucket", sa.Text(), nullable=False),
        sa.Column("rows", sa.Integer(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("input_key", "service_id", name=op.f("pk_result_cache")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_result_cache_used_at", "result_cache", ["service_id", "used_at", "size_bytes"])


def downgrade() -> None:
    op.drop_table("result_cache")
    op.drop_index("ix_jobs_input_key", "jobs")
    op.drop_column("jobs", "input_key")
