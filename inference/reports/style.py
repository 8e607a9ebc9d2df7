"""The style sheet of reports, and what a browser lets a page with it do."""

import base64
import functools
import hashlib
from pathlib import Path

HERE = Path(__file__).parent


@functools.cache
def style() -> str:
    """The same in every report."""
    return (HERE / "report.css").read_text()


def policy() -> str:
    """It may load nothing and run nothing; of styles it may have the one that stands in it."""
    digest = base64.b64encode(hashlib.sha256(style().encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
