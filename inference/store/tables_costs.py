"""The tables of prices, budgets and of what was held; `tables` shows them with all others."""

import sqlalchemy as sa

from inference.store.columns import ID, id_column, metadata, tenant, text, time

prices = sa.Table(
    "prices",
    metadata,
    sa.Column("device_kind", sa.String(128), primary_key=True),
    sa.Column("purchase", sa.String(12), primary_key=True),
    sa.Column("valid_from", sa.Double, primary_key=True),
    sa.Column("per_hour", sa.Double, nullable=False),
)
"""What was set; the examples that hold until then lie in the code."""

cost_days = sa.Table(
    "cost_days",
    metadata,
    sa.Column("day", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("tenant_id", sa.String(64), primary_key=True),
    sa.Column("service_id", ID, primary_key=True),
    sa.Column("device_kind", sa.String(128), primary_key=True),
    sa.Column("purchase", sa.String(12), primary_key=True),
    sa.Column("held_s", sa.Double, nullable=False),
    sa.Column("cpu_s", sa.Double, nullable=False),
    sa.Column("money", sa.Double, nullable=False),
    sa.Index(None, "tenant_id", "day"),
)
"""What replicas held, added up by the control process. What was used of it stands in `usage`, by instance."""

cost_instances = sa.Table(
    "cost_instances",
    metadata,
    id_column(),
    sa.Column("service_id", ID, nullable=False, index=True),
    sa.Column("node_id", sa.String(128), nullable=False),
    text("device"),
    time("opened_at"),
    sa.Column("device_kind", sa.String(128)),
    sa.Column("purchase", sa.String(12)),
    sa.Column("units", sa.Double),
    sa.Column("cpus", sa.Double),
)
"""Where each engine process ran, and how much of its device was its own. It outlives the process: attempts and usage
name instances."""

budgets = sa.Table(
    "budgets",
    metadata,
    id_column(),
    tenant(),
    sa.Column("service_id", ID, nullable=False),
    sa.Column("period", sa.String(8), nullable=False),
    sa.Column("of_system", sa.Boolean, nullable=False),
    sa.Column("soft", sa.Double),
    sa.Column("hard", sa.Double),
    sa.Column("low_priority", sa.SmallInteger, nullable=False),
    sa.Column("level", sa.String(8), nullable=False),
    time("judged_for"),
    time("level_at", null=True),
    time("created_at"),
    time("updated_at"),
    sa.UniqueConstraint("tenant_id", "service_id", "period", "of_system"),
)
"""`service_id` empty: of the whole tenant. `level` holds for the period that began at `judged_for`."""
