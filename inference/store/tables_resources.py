"""The tables of devices and of what is held on them; `tables` shows them with all others."""

import sqlalchemy as sa

from inference.store.columns import integer, metadata, text, time

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
