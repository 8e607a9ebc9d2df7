"""Alembic's entry: runs on the connection that `inference.store.migrate` hands over."""

from alembic import context

from inference.store.migrate import is_known
from inference.store.tables import metadata

connection = context.config.attributes["connection"]
context.configure(
    connection=connection, target_metadata=metadata, render_as_batch=True, compare_type=True, include_name=is_known
)
with context.begin_transaction():
    context.run_migrations()
