"""What every answer says to browsers: what it is, who may frame, read or keep it, and what it may load."""

import base64
import hashlib
import re

Header = tuple[str, str]

HIDDEN = "default-src 'none'; frame-ancestors 'none'"
"""The policy of an answer that is no page: should a browser show it as one, it may do nothing."""

_SCRIPT = re.compile(r"<script>(.*?)</script>", re.DOTALL)


def _with(policy: str, *more: Header) -> tuple[Header, ...]:
    return (
        ("X-Content-Type-Options", "nosniff"),
        ("X-Frame-Options", "DENY"),
        ("Referrer-Policy", "no-referrer"),
        ("Cross-Origin-Resource-Policy", "same-origin"),
        ("Content-Security-Policy", policy),
        *more,
    )


ANSWER = _with(HIDDEN, ("Cache-Control", "no-store"))


def of_report(policy: str) -> tuple[Header, ...]:
    """For a report, which brings its own policy; a browser takes both, and what both allow."""
    return _with(f"{policy}; frame-ancestors 'none'", ("Cache-Control", "no-store"))


def of_page(html: str) -> tuple[Header, ...]:
    """For the page of Swagger UI and its files: our own host alone, and of inline scripts those that stand in `html`.

    Its styles are set by its own script on elements, and its icons are data: URLs.
    """
    scripts = " ".join(f"'sha256-{_digest(script)}'" for script in _SCRIPT.findall(html))
    return _with(
        f"default-src 'none'; script-src 'self' {scripts}; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
        "connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
    )


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
