"""For what is asked of a million rows: indexes of tasks that went wrong, and counts of log entries."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

BAD = "completed_at IS NOT NULL AND state <> 'completed'"
TROUBLE, ERRORS = "fingerprint IS NOT NULL", "level >= 40"
AT = "(1577836800 + id / 4096000000)"
"""Ids of log entries count 4,096 a microsecond from 2020 on."""


def upgrade() -> None:
    for name, column in (("ix_jobs_service_bad", "service_id"), ("ix_jobs_tenant_bad", "tenant_id")):
        _partial(name, "jobs", [column, "id"], BAD)
    for index in ("fingerprint", "errors", "grave"):
        op.drop_index(f"ix_log_entries_{index}", "log_entries")
    _partial("ix_log_entries_errors", "log_entries", ["service_id", "id", "level"], ERRORS)
    _partial("ix_log_entries_grave", "log_entries", ["id", "level"], ERRORS)
    _partial("ix_log_entries_trouble", "log_entries", ["fingerprint", "id", "level", "service_id"], TROUBLE)
    op.create_table(
        "log_counts",
        sa.Column("step_s", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("service_id", sa.String(length=32), nullable=False),
        sa.Column("level", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("entries", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("step_s", "at", "service_id", "level", "event", name=op.f("pk_log_counts")),
    )
    for step_s, event in ((300, "''"), (3600, "substr(event, 1, 200)")):
        op.execute(
            "INSERT INTO log_counts (step_s, at, service_id, level, event, entries) "
            f"SELECT {step_s}, {AT} / {step_s} * {step_s}, coalesce(service_id, ''), level, {event}, count(*) "
            "FROM log_entries GROUP BY 1, 2, 3, 4, 5"
        )


def downgrade() -> None:
    op.drop_table("log_counts")
    for index in ("trouble", "errors", "grave"):
        op.drop_index(f"ix_log_entries_{index}", "log_entries")
    _partial("ix_log_entries_errors", "log_entries", ["service_id", "id"], ERRORS)
    _partial("ix_log_entries_grave", "log_entries", ["id"], ERRORS)
    _partial("ix_log_entries_fingerprint", "log_entries", ["fingerprint", "id"], TROUBLE)
    op.drop_index("ix_jobs_tenant_bad", "jobs")
    op.drop_index("ix_jobs_service_bad", "jobs")


def _partial(name: str, table: str, columns: list[str], condition: str) -> None:
    rows = sa.text(condition)
    op.create_index(name, table, columns, sqlite_where=rows, postgresql_where=rows)
