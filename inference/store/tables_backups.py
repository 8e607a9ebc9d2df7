"""The table of snapshots of the configuration; `tables` shows it with all others."""

import sqlalchemy as sa

from inference.store.columns import id_column, metadata, tenant, text, time

backups = sa.Table(
    "backups",
    metadata,
    id_column(),
    tenant(),
    sa.Column("origin", sa.String(12), nullable=False),
    time("made_at"),
    sa.Column("digest", sa.String(64), nullable=False),
    text("objects"),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("content", sa.LargeBinary, nullable=False),
    sa.Index(None, "tenant_id", "id"),
)
"""`tenant_id` empty: of the whole system. `objects`: how many of each section. `content`: the archive, zlib."""
