"""Where a job keeps the trace that it belongs to: in front of its metadata, so that one without a trace pays nothing.

Metadata of a traced job begins with one key of ours, of fixed length, which its owner does not see.
"""

from inference.tracing import Context, parse, traceparent

KEY = "$traceparent"
"""Clients may not use it: see `api.schemas.task_in`."""

_HEAD = f'{{"{KEY}":"'
_LENGTH = len(_HEAD) + len("00--01-") + 32 + 16


def kept(metadata_json: str | None, trace: Context | None) -> str | None:
    """What is stored."""
    if trace is None:
        return metadata_json
    head = f'{_HEAD}{traceparent(trace)}"'
    if metadata_json is None:
        return f"{head}}}"
    return f"{head}{' ' if metadata_json == '{}' else ','}{metadata_json[1:]}"


def shown(metadata_json: str | None) -> str | None:
    """What the client gave, of what is stored."""
    if metadata_json is None or not metadata_json.startswith(_HEAD):
        return metadata_json
    rest = metadata_json[_LENGTH + 1 :]
    return None if rest == "}" else "{" + rest[1:]


def trace_of(metadata_json: str | None) -> Context | None:
    """The span that submitted the job; None for one that is not traced."""
    if metadata_json is None or not metadata_json.startswith(_HEAD):
        return None
    found = parse(metadata_json[len(_HEAD) : _LENGTH])
    return None if found is None else found.context
