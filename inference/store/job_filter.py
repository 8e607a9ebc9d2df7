"""Which jobs a filter means, as SQL: the same for lists, downloads and comparisons."""

from typing import Any

from inference.jobs.model import FINAL, JobFilter, JobState

SLACK_S = 86_400.0
"""How far the clock that an id was made by may be from the database's."""

BADLY = sorted(state.value for state in FINAL - {JobState.COMPLETED})
IS_BAD = "j.completed_at IS NOT NULL AND j.state <> 'completed'"
"""Over, and not completed: word for word the condition of two partial indexes, of which a job that completes feels
nothing. A list of states would cost each of its statements 5 us on SQLite.
"""


def conditions(which: JobFilter) -> tuple[str, dict[str, Any]]:
    """What must be true of `j`, each condition behind an AND, and what they bind; without its cursor and limit."""
    parts: list[str] = []
    bound: dict[str, Any] = {}
    ids, of_ids = id_range(which)
    for text, name, value in (
        ("j.service_id = :service", "service", which.service_id),
        ("j.state = :state", "state", which.state.value if which.state else None),
        ("j.priority = :priority", "priority", which.priority),
        ("j.submitted_at >= :from", "from", which.created_from),
        ("j.submitted_at < :to", "to", which.created_to),
        ("j.model_version = :version", "version", which.model_version),
        ("j.worker = :worker", "worker", which.worker),
        ("j.error_code = :error", "error", which.error_code),
    ):
        if value is not None:
            parts.append(text)
            bound[name] = value
    if is_bad(which):  # by error, too: a task that waits for its next try, or came through in the end, has none
        parts.append(IS_BAD)
    return ids + "".join(f" AND {part}" for part in parts), bound | of_ids


def is_bad(which: JobFilter) -> bool:
    """Whether only what ended, and did not complete, can fit."""
    return which.error_code is not None or (which.state is not None and which.state in BADLY)


def id_range(which: JobFilter) -> tuple[str, dict[str, Any]]:
    """The times of a filter as a range of ids, which begin with the time; a day wider on either side.

    So what is long before or after it is not read: every list goes by ids.
    """
    texts = {"first_id": " AND j.id >= :first_id", "end_id": " AND j.id < :end_id"}
    ends = {"first_id": _id_at(which.created_from, -SLACK_S), "end_id": _id_at(which.created_to, SLACK_S)}
    bound = {name: end for name, end in ends.items() if end is not None}
    return "".join(texts[name] for name in bound), bound


def _id_at(time_s: float | None, shift_s: float) -> str | None:
    """The first id that could be made then."""
    if time_s is None:
        return None
    milliseconds = int((time_s + shift_s) * 1000)
    return f"{min(max(milliseconds, 0), (1 << 48) - 1):012x}"
