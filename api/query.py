"""Query parameters of views that read them by hand: only known ones, each once."""

from collections.abc import Iterable, Sequence

from inference.errors import InvalidField, UnknownField
from inference.jobs import json_text


def read(pairs: Iterable[tuple[str, str]], known: Sequence[str]) -> dict[str, str]:
    """What the query says. Raises UnknownField and InvalidField."""
    said: dict[str, str] = {}
    for name, value in pairs:
        if name not in known:
            short, names = json_text.short(name), ", ".join(f"`{one}`" for one in known)
            raise UnknownField(f"There is no query parameter `{short}` here; known: {names or 'none'}.", field=short)
        if name in said:
            raise repeated(name)
        said[name] = value
    return said


def repeated(name: str) -> InvalidField:
    """Which of two values is meant, nobody can know."""
    return InvalidField(f"The query parameter `{name}` stands twice; keep one.", field=name)
