"""The tables of keys, tenants, usage, the audit record and webhooks; `tables` shows them with all others."""

import sqlalchemy as sa

from inference.store.columns import ID, id_column, integer, metadata, tenant, text, time

tenants = sa.Table(
    "tenants",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    text("name"),
    time("created_at"),
    sa.Column("limits", sa.Text, nullable=False, server_default="{}"),
    time("disabled_at", null=True),
    sa.Column("epoch", sa.BigInteger, nullable=False, server_default=sa.text("0")),
)

api_keys = sa.Table(
    "api_keys",
    metadata,
    sa.Column("id", sa.String(16), primary_key=True),
    tenant(),
    sa.Column("workspace", sa.String(64)),
    sa.Column("service_id", ID, index=True),
    sa.Column("is_system", sa.Boolean, nullable=False),
    sa.Column("is_for_service", sa.Boolean, nullable=False),
    text("name"),
    sa.Column("role", sa.String(12), nullable=False),
    sa.Column("digest", sa.LargeBinary, nullable=False),
    sa.Column("previous_digest", sa.LargeBinary),
    time("previous_until", null=True),
    text("limits"),
    time("created_at"),
    text("created_by"),
    time("expires_at", null=True),
    time("rotated_at", null=True),
    time("revoked_at", null=True),
    sa.Column("epoch", sa.BigInteger, nullable=False, index=True),
    sa.Index(None, "tenant_id", "created_at"),
)

access_epoch = sa.Table(
    "access_epoch",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("epoch", sa.BigInteger, nullable=False),
)
"""One row. Every change of a key or a tenant takes the next number, so that processes see what is new to them."""

audit = sa.Table(
    "audit",
    metadata,
    sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
    time("at"),
    tenant(),
    text("actor_kind"),
    text("actor_id"),
    text("actor_name"),
    text("address"),
    text("operation"),
    text("action"),
    text("object_kind"),
    text("object_id"),
    text("before"),
    text("after"),
    sa.Column("previous_hash", sa.String(64), nullable=False),
    sa.Column("hash", sa.String(64), nullable=False),
    sa.Index(None, "tenant_id", "seq"),
    sa.Index(None, "object_id", "seq"),
)

audit_head = sa.Table(
    "audit_head",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("seq", sa.BigInteger, nullable=False),
    sa.Column("hash", sa.String(64), nullable=False),
)
"""One row: where the chain ends. Appending locks it, so that the chain has one end."""

usage = sa.Table(
    "usage",
    metadata,
    sa.Column("day", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("tenant_id", sa.String(64), primary_key=True),
    sa.Column("key_id", sa.String(16), primary_key=True),
    sa.Column("service_id", ID, primary_key=True),
    sa.Column("instance_id", ID, primary_key=True),
    sa.Column("jobs", sa.BigInteger, nullable=False),
    sa.Column("rows", sa.BigInteger, nullable=False),
    sa.Column("engine_s", sa.Double, nullable=False),
    sa.Index(None, "tenant_id", "day"),
)
"""Added to in the transaction that ends a job. `instance_id` keeps two workers from waiting for one row."""

outbox = sa.Table(
    "outbox",
    metadata,
    sa.Column("id", sa.String(80), primary_key=True),
    tenant(),
    sa.Column("service_id", ID, nullable=False),
    sa.Column("job_id", ID, nullable=False, index=True),
    integer("generation"),
    sa.Column("event", sa.String(16), nullable=False),
    sa.Column("job_state", sa.String(12), nullable=False),
    text("url"),
    time("created_at"),
    time("due_at"),
    sa.Column("state", sa.String(12), nullable=False),
    integer("attempts"),
    text("leased_by", null=True),
    sa.Column("last_status", sa.Integer),
    text("last_error", null=True),
    time("delivered_at", null=True),
)
"""Webhooks to be sent. Triggers on `jobs` write it, whoever makes the move; ids are `<job>.<generation>.<event>`."""

webhook_secrets = sa.Table(
    "webhook_secrets",
    metadata,
    id_column(),
    sa.Column("tenant_id", sa.String(64), nullable=False, index=True),
    text("secret"),
    time("created_at"),
    time("expires_at", null=True),
)

sa.Index(
    "ix_outbox_due",
    outbox.c.due_at,
    sqlite_where=sa.text("state = 'pending'"),
    postgresql_where=sa.text("state = 'pending'"),
)
