"""Reads Parquet with somebody else's library: the Rust implementation of Arrow."""

import io
from typing import Any

import arro3.io


def in_parquet(content: bytes) -> list[dict[str, Any]]:
    """The rows. Raises what the library raises for what is no whole file."""
    table = arro3.io.read_parquet(io.BytesIO(content)).read_all()
    columns = {name: table.column(name).to_pylist() for name in table.schema.names}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
