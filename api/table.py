"""Tables as text (CSV), safe to open in a spreadsheet."""

import csv
import io
from collections.abc import Iterable

CONTENT_TYPE = "text/csv; charset=utf-8"
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""A spreadsheet takes a cell that begins so for a formula, and runs it."""


def row(cells: Iterable[object]) -> str:
    """One line. A text that a spreadsheet would run begins with `'`; numbers stay as they are, None is empty."""
    written = io.StringIO()
    csv.writer(written).writerow([_cell(cell) for cell in cells])
    return written.getvalue()


def _cell(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value
