"""The tables of alert rules, alerts, silences and orders; `tables` shows them with all others."""

import sqlalchemy as sa

from inference.store.columns import ID, id_column, integer, metadata, tenant, text, time

alert_rules = sa.Table(
    "alert_rules",
    metadata,
    id_column(),
    tenant(),
    sa.Column("name", sa.String(100), nullable=False),
    sa.Column("service_id", ID, nullable=False),
    text("body"),
    time("created_at"),
    time("updated_at"),
    sa.UniqueConstraint("tenant_id", "name"),
)
"""What somebody made or changed; the defaults lie in the code. `service_id` empty: each service of the tenant."""

alerts = sa.Table(
    "alerts",
    metadata,
    id_column(),
    sa.Column("rule_id", ID, nullable=False),
    tenant(),
    sa.Column("service_id", ID, nullable=False),
    sa.Column("active_key", sa.String(65), unique=True),
    sa.Column("name", sa.String(100), nullable=False),
    sa.Column("metric", sa.String(32), nullable=False),
    sa.Column("severity", sa.String(12), nullable=False),
    sa.Column("threshold", sa.Double, nullable=False),
    sa.Column("phase", sa.String(12), nullable=False),
    time("began_at"),
    sa.Column("value", sa.Double),
    time("quiet_since", null=True),
    time("fired_at", null=True),
    time("resolved_at", null=True),
    time("told_at", null=True),
    sa.Index(None, "tenant_id", "id"),
)
"""`active_key` names rule and service until it is resolved: no pair has two that are not."""

alert_silences = sa.Table(
    "alert_silences",
    metadata,
    id_column(),
    tenant(),
    time("until"),
    sa.Column("rule_id", ID, nullable=False),
    sa.Column("service_id", ID, nullable=False),
    sa.Column("severity", sa.String(12), nullable=False),
    text("comment"),
    time("created_at"),
)

alert_orders = sa.Table(
    "alert_orders",
    metadata,
    id_column(),
    sa.Column("alert_id", ID, nullable=False, index=True),
    sa.Column("rule_id", ID, nullable=False),
    tenant(),
    sa.Column("service_id", ID, nullable=False),
    sa.Column("event", sa.String(12), nullable=False),
    sa.Column("kind", sa.String(12), nullable=False),
    text("action"),
    sa.Column("state", sa.String(12), nullable=False),
    integer("attempts"),
    text("note", null=True),
    time("created_at"),
    time("due_at"),
    sa.Column("leased_by", sa.String(128)),
    time("settled_at", null=True),
)
sa.Index(
    "ix_alert_orders_due",
    alert_orders.c.due_at,
    sqlite_where=sa.text("state = 'pending'"),
    postgresql_where=sa.text("state = 'pending'"),
)
