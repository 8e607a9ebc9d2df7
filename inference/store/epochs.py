"""The running number of changes to keys and tenants, by which processes see what is new."""

import sqlalchemy as sa


def next_epoch(connection: sa.Connection) -> int:
    """Taken inside the transaction that makes the change: its row is locked until then, so numbers commit in order."""
    statement = sa.text("UPDATE access_epoch SET epoch = epoch + 1 WHERE id = 1 RETURNING epoch")
    return int(connection.execute(statement).scalar_one())
