"""The table of log entries; `tables` shows it with all others."""

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from inference.store.columns import ID, metadata, text

WARNING, ERROR = 30, 40

log_entries = sa.Table(
    "log_entries",
    metadata,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True, autoincrement=False),
    sa.Column("level", sa.SmallInteger, nullable=False),
    text("event"),
    sa.Column("service_id", ID),
    sa.Column("task_id", ID),
    sa.Column("trace_id", ID),
    sa.Column("fingerprint", sa.String(16)),
    text("fields"),
    sa.Column("words", sa.Text().with_variant(postgresql.TSVECTOR(), "postgresql"), nullable=False),
    sa.Index("ix_log_entries_service", "service_id", "id"),
    *(
        sa.Index(name, *columns, sqlite_where=sa.text(where), postgresql_where=sa.text(where))
        for name, columns, where in (
            ("ix_log_entries_warnings", ("service_id", "id"), f"level >= {WARNING}"),
            ("ix_log_entries_errors", ("service_id", "id", "level"), f"level >= {ERROR}"),
            ("ix_log_entries_grave", ("id", "level"), f"level >= {ERROR}"),
            ("ix_log_entries_task", ("task_id", "id"), "task_id IS NOT NULL"),
            ("ix_log_entries_trouble", ("fingerprint", "id", "level", "service_id"), "fingerprint IS NOT NULL"),
        )
    ),
)
"""`id` tells the time of an entry, too; see `inference/logs/model.py`. On SQLite the words are found through the full
text index `log_words`, which triggers keep, on PostgreSQL through a GIN index: both are made by the migration alone."""


log_counts = sa.Table(
    "log_counts",
    metadata,
    sa.Column("step_s", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("at", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("service_id", ID, primary_key=True),
    sa.Column("level", sa.SmallInteger, primary_key=True, autoincrement=False),
    sa.Column("event", sa.Text, primary_key=True),
    sa.Column("entries", sa.BigInteger, nullable=False),
)
"""How many entries a span had, by level, and by level and event; see `inference/store/log_counts.py`. An empty text is
no service, and any event."""
