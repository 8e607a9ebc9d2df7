"""The metadata that all tables share, and the kinds of columns they are made of."""

import sqlalchemy as sa

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

ID = sa.String(32)
TIME: sa.Double[float] = sa.Double()


def id_column(name: str = "id") -> "sa.Column[str]":
    """An id of ours, as the primary key."""
    return sa.Column(name, ID, primary_key=True)


def text(name: str, *, null: bool = False) -> "sa.Column[str]":
    """Text of any length."""
    return sa.Column(name, sa.Text, nullable=null)


def integer(name: str, default: int | None = None) -> "sa.Column[int]":
    """A small number."""
    server_default = None if default is None else sa.text(str(default))
    return sa.Column(name, sa.Integer, nullable=False, server_default=server_default)


def time(name: str, *, null: bool = False) -> "sa.Column[float]":
    """Epoch seconds."""
    return sa.Column(name, TIME, nullable=null)


def tenant() -> "sa.Column[str]":
    """Whose row it is."""
    return sa.Column("tenant_id", sa.String(64), nullable=False)
