"""The tables of the autoscaler; `tables` shows them with all others."""

import sqlalchemy as sa

from inference.store.columns import ID, id_column, metadata, tenant, text, time

scaling = sa.Table(
    "scaling",
    metadata,
    sa.Column("service_id", ID, primary_key=True),
    text("memory"),
    time("start_s", null=True),
    time("work_s", null=True),
    time("saved_at"),
)
"""What outlives a control process: the memory of a service's policy, and the figures that take long to measure."""

scaling_decisions = sa.Table(
    "scaling_decisions",
    metadata,
    id_column(),
    tenant(),
    sa.Column("service_id", ID, nullable=False),
    time("at"),
    sa.Column("from_replicas", sa.Integer, nullable=False),
    sa.Column("from_instances", sa.Integer, nullable=False),
    sa.Column("to_replicas", sa.Integer, nullable=False),
    sa.Column("to_instances", sa.Integer, nullable=False),
    sa.Column("policy", sa.String(32), nullable=False),
    text("reason"),
    text("signals"),
    sa.Index(None, "service_id", "id"),
    sa.Index(None, "tenant_id", "id"),
)
"""One row for each change of a target."""
