"""The tables of reports, of what they say, and of their schedules; `tables` shows them with all others."""

import sqlalchemy as sa

from inference.store.columns import ID, id_column, integer, metadata, tenant, text, time

reports = sa.Table(
    "reports",
    metadata,
    id_column(),
    tenant(),
    sa.Column("service_id", ID, nullable=False),
    sa.Column("schedule_id", ID),
    sa.Column("format", sa.String(8), nullable=False),
    sa.Column("language", sa.String(8), nullable=False),
    sa.Column("timezone", sa.String(64), nullable=False),
    time("since"),
    time("until"),
    sa.Column("state", sa.String(12), nullable=False),
    integer("attempt"),
    time("created_at"),
    time("started_at", null=True),
    time("ended_at", null=True),
    time("due_at", null=True),
    sa.Column("leased_by", sa.String(128)),
    text("error_code", null=True),
    text("error_message", null=True),
    text("summary", null=True),
    sa.Column("size_bytes", sa.BigInteger),
    text("mail_to"),
    text("post_to"),
    integer("tell_attempts"),
    time("mailed_at", null=True),
    time("posted_at", null=True),
    text("tell_note", null=True),
    sa.Index(None, "tenant_id", "id"),
    sa.Index(None, "created_at"),
)
"""`service_id` empty: of the whole tenant. `due_at`: when somebody must take it, to make it or to tell of it."""
sa.Index(
    "ix_reports_due",
    reports.c.due_at,
    sqlite_where=sa.text("due_at IS NOT NULL"),
    postgresql_where=sa.text("due_at IS NOT NULL"),
)

report_contents = sa.Table(
    "report_contents",
    metadata,
    id_column("report_id"),
    sa.Column("body", sa.LargeBinary, nullable=False),
)
"""Written once, in the transaction that completes the report, so that whoever may read the row can read it."""

report_schedules = sa.Table(
    "report_schedules",
    metadata,
    id_column(),
    tenant(),
    sa.Column("service_id", ID, nullable=False),
    sa.Column("every", sa.String(8), nullable=False),
    sa.Column("at", sa.String(5), nullable=False),
    sa.Column("timezone", sa.String(64), nullable=False),
    sa.Column("format", sa.String(8), nullable=False),
    sa.Column("language", sa.String(8), nullable=False),
    text("mail_to"),
    text("post_to"),
    time("next_at"),
    time("created_at"),
    sa.Index(None, "next_at"),
    sa.Index(None, "tenant_id", "id"),
)
