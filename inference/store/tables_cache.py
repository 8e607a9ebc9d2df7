"""The table of kept results; `tables` shows it with all others."""

import sqlalchemy as sa

from inference.store.columns import ID, integer, metadata, text, time

result_cache = sa.Table(
    "result_cache",
    metadata,
    sa.Column("input_key", sa.String(64), primary_key=True),
    sa.Column("service_id", ID, primary_key=True),
    sa.Column("model_id", ID, nullable=False),
    text("model_version"),
    time("expires_at"),
    time("used_at"),
    sa.Column("hits", sa.BigInteger, nullable=False),
    sa.Column("runs", sa.BigInteger, nullable=False),
    sa.Column("shared", sa.BigInteger, nullable=False),
    integer("size_bytes"),
    text("bucket"),
    integer("rows"),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.Column("payload", sa.LargeBinary),
    sqlite_with_rowid=False,
)
"""`hits`: tasks and predictions answered from it; `runs`: how often it was made; `shared`: tasks that waited and shared
such a run. `payload` only where a later version is to be warmed up with it."""

sa.Index("ix_result_cache_used_at", result_cache.c.service_id, result_cache.c.used_at, result_cache.c.size_bytes)
