"""Times as clients write them."""

import re

from inference import clock, errors

_LOST_PLUS = re.compile(r"(\d\d:\d\d(?::\d\d(?:\.\d+)?)?) (\d\d:?\d\d)$")
"""A `+` that was not escaped in a query arrives as a space."""


def epoch_of(text: str | None, parameter: str) -> float | None:
    """Epoch seconds of an ISO 8601 time; None stays None. Raises InvalidField, naming the parameter or field."""
    if text is None:
        return None
    try:
        return clock.from_iso(_LOST_PLUS.sub(r"\1+\2", text))
    except (ValueError, OverflowError) as error:
        message = f"`{parameter}` must be an ISO 8601 time such as 2026-11-20T12:00:00Z."
        raise errors.InvalidField(message, field=parameter) from error


def range_of(since: str | None, until: str | None, *, path: str = "") -> tuple[float | None, float | None]:
    """Both as `epoch_of`. `path`: what stands before their names. Raises InvalidField for an empty range."""
    begins, ends = epoch_of(since, f"{path}from"), epoch_of(until, f"{path}to")
    if begins is not None and ends is not None and begins >= ends:
        raise errors.InvalidField(f"`{path}from` must be earlier than `{path}to`.", field=f"{path}from")
    return begins, ends
