"""Reads entries, for those who may."""

from collections.abc import Callable, Iterator
from dataclasses import replace

from inference import clock
from inference.errors import InvalidField
from inference.ids import is_id
from inference.logs.model import Entry, Level, Question
from inference.logs.ports import LogsPorts
from inference.logs.words import terms

MOST_KEYWORD_CHARS = 200
PAGE = 500
LATE_S = 10.0
"""How much later than it was logged an entry may reach the store, and still be told by a tail."""


def question(
    *,
    service_id: str | None,
    level: str | None = None,
    since: float | None = None,
    until: float | None = None,
    keyword: str | None = None,
    task_id: str | None = None,
    limit: int = 100,
) -> Question:
    """What a caller asks for. Raises InvalidField for what can find nothing."""
    try:
        at_least = Level.DEBUG if level is None else Level(level.lower())
    except ValueError as error:
        known = ", ".join(one.value for one in Level)
        raise InvalidField(f"The query parameter `level` must be one of {known}.", field="level") from error
    if since is not None and until is not None and since >= until:
        raise InvalidField("`from` must be earlier than `to`.", field="from")
    for name, given in (("service_id", service_id), ("task_id", task_id)):
        if given is not None and not is_id(given):
            raise InvalidField(f"The query parameter `{name}` is no id: `{given[:64]}`.", field=name)
    wanted = terms(keyword or "")
    if keyword is not None and (not wanted or len(keyword) > MOST_KEYWORD_CHARS):
        message = f"The query parameter `keyword` must hold a letter or a digit, and {MOST_KEYWORD_CHARS} at most."
        raise InvalidField(message, field="keyword")
    return Question(
        service_id=service_id,
        level=at_least,
        since=since,
        until=until,
        terms=wanted,
        task_id=task_id,
        limit=limit,
    )


def every(ports: LogsPorts, asked: Question) -> Iterator[Entry]:
    """All of them, the newest first, read by pages: each in a short transaction."""
    before = asked.before_id
    while True:
        found = ports.store.find(replace(asked, before_id=before, limit=PAGE))
        yield from found
        if len(found) < PAGE:
            return
        before = found[-1].id


class Tail:
    """What is new since the last look. Use one for each reader; not safe in several threads at once."""

    def __init__(
        self, ports: LogsPorts, asked: Question, *, since: float, now_s: Callable[[], float] = clock.epoch_s
    ) -> None:
        self._ports, self._asked, self._now_s = ports, asked, now_s
        self._since = since
        self._told: set[int] = set()

    def look(self) -> list[Entry]:
        """By time, the oldest first; each entry once. Entries may reach the store late: some seconds are read anew."""
        floor = max(self._since, self._now_s() - LATE_S)
        found = self._ports.store.find(replace(self._asked, since=floor, limit=PAGE))
        news = [entry for entry in reversed(found) if entry.id not in self._told]
        self._told = {entry.id for entry in found}
        return news
