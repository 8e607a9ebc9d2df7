"""Large inputs and outputs, kept by reference: where a large result lies, and how long an upload lives."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("results", sa.Column("sha256", sa.String(length=64), nullable=True))
    op.add_column("results", sa.Column("size_bytes", sa.BigInteger(), nullable=True))
    large = sa.text("sha256 IS NOT NULL")
    op.create_index("ix_results_sha256", "results", ["sha256"], sqlite_where=large, postgresql_where=large)
    op.add_column("uploads", sa.Column("expires_at", sa.Double(), nullable=True))
    ends = sa.text("expires_at IS NOT NULL")
    op.create_index("ix_uploads_expires_at", "uploads", ["expires_at"], sqlite_where=ends, postgresql_where=ends)
    op.create_index(op.f("ix_uploads_sha256"), "uploads", ["sha256"])
    op.create_index(op.f("ix_uploads_tenant_id_id"), "uploads", ["tenant_id", "id"])


def downgrade() -> None:
    """Large results cannot be told without their reference: they go, and their tasks show none."""
    for index in ("ix_uploads_tenant_id_id", "ix_uploads_sha256", "ix_uploads_expires_at"):
        op.drop_index(index, "uploads")
    op.drop_column("uploads", "expires_at")
    op.drop_index("ix_results_sha256", "results")
    op.execute(
        "UPDATE results SET body = CAST('null' AS BLOB) WHERE sha256 IS NOT NULL"
        if _is_sqlite()
        else "UPDATE results SET body = 'null' WHERE sha256 IS NOT NULL"
    )
    op.drop_column("results", "size_bytes")
    op.drop_column("results", "sha256")


def _is_sqlite() -> bool:
    return op.get_bind().dialect.name == "sqlite"
