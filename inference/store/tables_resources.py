"""The tables of devices and of what is held on them; `tables` shows them with all others."""

import sqlalchemy as sa

from inference.store.columns import ID, id_column, integer, metadata, text, time

devices = sa.Table(
    "devices",
    metadata,
    sa.Column("node_id", sa.String(128), primary_key=True),
    sa.Column("uuid", sa.String(128), primary_key=True),
    integer("index"),
    text("name"),
    sa.Column("memory_bytes", sa.BigInteger, nullable=False),
    sa.Column("source", sa.String(12), nullable=False),
    sa.Column("parent_uuid", sa.String(128)),
    sa.Column("state", sa.String(12), nullable=False),
    text("figures"),
    time("reported_at"),
)
"""What the nodes have. Rows stay when a device is lost or gone; one that is the parent of another holds nothing."""

leases = sa.Table(
    "leases",
    metadata,
    id_column("replica_id"),
    sa.Column("service_id", ID, nullable=False),
    sa.Column("node_id", sa.String(128), nullable=False, index=True),
    sa.Column("device", sa.String(128), nullable=False),
    sa.Column("state", sa.String(12), nullable=False),
    sa.Column("is_whole", sa.Boolean, nullable=False),
    sa.Column("card_bytes", sa.BigInteger, nullable=False),
    sa.Column("cpu_milli", sa.BigInteger, nullable=False),
    sa.Column("memory_bytes", sa.BigInteger, nullable=False),
    sa.Column("wanted_card_bytes", sa.BigInteger, nullable=False),
    sa.Column("wanted_cpu_milli", sa.BigInteger, nullable=False),
    sa.Column("wanted_memory_bytes", sa.BigInteger, nullable=False),
    sa.Column("for_id", ID, index=True),
    time("reserved_at"),
    time("allocated_at", null=True),
    time("unloading_at", null=True),
    sa.Column("owner_pid", sa.Integer),
    sa.Column("owner_started", sa.BigInteger),
)
"""What replicas hold. A row may outlive its replica's: the process of a deleted service holds it to its end."""
