"""The log store, with an index of words: full text on SQLite, inverted on PostgreSQL."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

PARTIAL = (
    ("ix_log_entries_warnings", ["service_id", "id"], "level >= 30"),
    ("ix_log_entries_errors", ["service_id", "id"], "level >= 40"),
    ("ix_log_entries_grave", ["id"], "level >= 40"),
    ("ix_log_entries_task", ["task_id", "id"], "task_id IS NOT NULL"),
    ("ix_log_entries_fingerprint", ["fingerprint", "id"], "fingerprint IS NOT NULL"),
)
FULL_TEXT = (
    "CREATE VIRTUAL TABLE log_words USING fts5(words, content='log_entries', content_rowid='id', "
    "tokenize='unicode61 remove_diacritics 0')",
    "CREATE TRIGGER log_entries_put AFTER INSERT ON log_entries "
    "BEGIN INSERT INTO log_words (rowid, words) VALUES (NEW.id, NEW.words); END",
    "CREATE TRIGGER log_entries_gone AFTER DELETE ON log_entries "
    "BEGIN INSERT INTO log_words (log_words, rowid, words) VALUES ('delete', OLD.id, OLD.words); END",
)


def upgrade() -> None:
    op.create_table(
        "log_entries",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("level", sa.SmallInteger(), nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("service_id", sa.String(length=32), nullable=True),
        sa.Column("task_id", sa.String(length=32), nullable=True),
        sa.Column("trace_id", sa.String(length=32), nullable=True),
        sa.Column("fingerprint", sa.String(length=16), nullable=True),
        sa.Column("fields", sa.Text(), nullable=False),
        sa.Column("words", sa.Text().with_variant(postgresql.TSVECTOR(), "postgresql"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_log_entries")),
    )
    op.create_index("ix_log_entries_service", "log_entries", ["service_id", "id"])
    for name, columns, where in PARTIAL:
        condition = sa.text(where)
        op.create_index(name, "log_entries", columns, sqlite_where=condition, postgresql_where=condition)
    if op.get_bind().dialect.name == "sqlite":
        for statement in FULL_TEXT:
            op.execute(statement)
    else:
        op.create_index("ix_log_entries_words", "log_entries", ["words"], postgresql_using="gin")


def downgrade() -> None:
    """The entries go."""
    if op.get_bind().dialect.name == "sqlite":
        op.execute("DROP TABLE log_words")
    op.drop_table("log_entries")
