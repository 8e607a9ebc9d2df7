"""What a restore would do, object by object and field by field. Reads nothing and changes nothing."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from inference.backup.model import Action, Archive, Change, Object, Sections, Step
from inference.backup.sections import BY_NAME, SECTIONS, Section, shaped
from inference.errors import PenstockError, Unavailable
from inference.serving.fallback import FIELD, MOST

Check = Callable[[Section, Object, Object | None], None]
"""Given the object as it would be, and as it is. Raises PenstockError."""

_CALLED = {
    "models": ("name", "version"),
    "budgets": ("service_id", "period"),
    "prices": ("device_kind", "purchase"),
    "report_schedules": ("every", "at", "timezone"),
}
_AS_WRITTEN = frozenset({"config.raw.fallback_service_id"})
"""What a client wrote; what counts is read beside it."""
_RAW = "config.raw."
NO_SERVICE = "0" * 32
"""The metrics key is of no service."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """An object of the archive beside the one that it is here, if there is one. `id`: under which it will be.

    With a `reason` it is not restored: refused for a `field`, skipped without one.
    """

    section: Section
    told: Object
    now: Object | None = None
    id: str = ""
    field: str | None = None
    reason: str | None = None


def own(sections: Sections) -> dict[str, list[Object]]:
    """Without what belongs to the system, though it may be about the tenant."""
    return {
        name: [one for one in objects if not one.get("of_system") and not one.get("is_system")]
        for name, objects in sections.items()
        if name in BY_NAME and not BY_NAME[name].of_system
    }


def plan(archive: Archive, now: Sections, *, tenant_id: str, at: float, check: Check) -> list[Step]:
    """A step for each object of the archive, in the order in which they can be carried out.

    `now`: the objects that are there, of the same tenant (empty: of all). What is there and not in the archive stays.
    An object is told from another by its id, or else by its name. Nothing is raised for a single object: it is refused.
    Raises Unavailable when `check` cannot say.
    """
    told = own(archive.sections) if tenant_id else archive.sections
    ids: dict[tuple[str, str], str] = {}
    found: list[_Found] = []
    for section in SECTIONS:
        mine = [one for one in told.get(section.name, ()) if not tenant_id or one.get("tenant_id") == tenant_id]
        matched = list(_matched(section, mine, now.get(section.name, ()), ids, at))
        ids |= {(section.name, str(one.told.get("id"))): one.id for one in matched if one.reason is None}
        found += matched
    steps = _without_circles([_step(one, ids, check) for one in found], now.get("services", ()))
    return _without_the_lost(steps, {name: {str(one.get("id")) for one in objects} for name, objects in now.items()})


def _matched(
    section: Section, told: Iterable[Object], there: Iterable[Object], ids: Mapping[tuple[str, str], str], at: float
) -> Iterator[_Found]:
    by_id, by_key = {}, {}
    for one in there:
        by_key[_key(section, one)] = one
        if "id" in one:
            by_id[str(one["id"])] = one
    seen: set[tuple[Any, ...]] = set()
    for one in told:
        try:
            shaped(section, one)
        except PenstockError as error:
            field = error.details.get("field") or section.key[-1]
            yield _Found(section=section, told=one, field=str(field), reason=error.message)
            continue
        key = _key(section, _rewritten(section, one, ids))
        yield _match(section, one, by_id.get(str(one.get("id"))), by_key.get(key), is_twice=key in seen, at=at)
        seen.add(key)


def _match(
    section: Section, told: Object, same: Object | None, named: Object | None, *, is_twice: bool, at: float
) -> _Found:
    now = same or named
    found = _Found(
        section=section, told=told, now=now, id=str(told.get("id", "") if now is None else now.get("id", ""))
    )
    field = section.key[-1]
    if is_twice:
        return replace(found, field=field, reason="It stands twice in the archive.")
    if same is not None and same.get("tenant_id") != told.get("tenant_id"):
        return replace(found, field="id", reason="An object of another tenant has its id.")
    if same is not None and named is not None and same is not named:
        return replace(found, field=field, reason=f"Another one is called '{_name(section, told)}' by now.")
    if section.name == "prices" and now is None and 0 < told["valid_from"] <= at:
        return replace(found, reason="The time from which it was to hold is over.")
    if section.name == "keys" and now is None and not told.get("digest"):
        return replace(found, reason="The archive has no digests of keys (`with_keys`); make a new key.")
    if section.name == "keys" and now is not None and now.get("revoked_at") is not None:
        return replace(found, reason="It was revoked, and stays so; make a new key.")
    return found


def _key(section: Section, one: Object) -> tuple[Any, ...]:
    return tuple(one.get(name) for name in section.key)


def _name(section: Section, one: Object) -> str:
    """What a person calls it."""
    parts = _CALLED.get(section.name, ("name",))
    return " ".join(str(one[part]) for part in parts if one.get(part))[:200]


def _step(found: _Found, ids: Mapping[tuple[str, str], str], check: Check) -> Step:
    section, told, now = found.section, found.told, found.now
    owner = told.get("id" if section.name == "tenants" else "tenant_id", "")
    step = Step(
        section=section.name,
        action=Action.SKIPPED if found.field is None else Action.REFUSED,
        id=found.id,
        name=_name(section, told),
        tenant_id=str(owner),
        before=now,
        field=found.field,
        reason=found.reason,
    )
    if found.reason is not None:
        return step
    wanted = _rewritten(section, told, ids)
    if now is None:
        step = replace(step, action=Action.CREATE, after=wanted)
    else:
        for field, why in section.same.items():
            if wanted.get(field) != now.get(field):
                return replace(step, action=Action.REFUSED, field=field, reason=f"`{field}` differs: {why}.")
        after = {**now, **{name: wanted[name] for name in section.fields if name in wanted}}
        changes = _told_once(list(differences(now, after)))
        if not changes:
            return replace(step, action=Action.UNCHANGED)
        step = replace(step, action=Action.CHANGE, after=after, changes=changes)
    try:
        check(section, step.after or {}, now)
    except Unavailable:  # of the store for a moment, not of the object for good
        raise
    except PenstockError as error:
        field = str(error.details.get("field") or section.key[-1])
        return replace(step, action=Action.REFUSED, changes=(), field=field, reason=error.message)
    return step


def _rewritten(section: Section, told: Object, ids: Mapping[tuple[str, str], str]) -> Object:
    """With the ids under which the objects that it names are here."""
    made = told
    for path, other in section.refs.items():
        named = _at(made, path)
        if isinstance(named, str) and (found := ids.get((other, named))) not in (None, named):
            made = _with(made, path.split("."), found)
    return made


def _without_circles(steps: Sequence[Step], services: Iterable[Object]) -> list[Step]:
    """Refuses fallbacks that would lead back to where they began, or on for too long."""
    leads = {str(one["id"]): _at(one, FIELD) for one in services}
    leads |= {
        step.id: _at(step.after, FIELD) for step in steps if step.section == "services" and step.after is not None
    }
    return [
        replace(step, action=Action.REFUSED, changes=(), field=FIELD, reason="Its fallbacks would lead in a circle.")
        if step.section == "services" and step.after is not None and _is_endless(step.id, leads)
        else step
        for step in steps
    ]


def _is_endless(service_id: str, leads: Mapping[str, Any]) -> bool:
    at: Any = service_id
    return all((at := leads.get(at)) is not None for _ in range(MOST + 1))


def _without_the_lost(steps: list[Step], here: Mapping[str, set[str]]) -> list[Step]:
    """Refuses what names an object that is neither here nor about to be; again, until nothing more is refused."""
    while True:
        there = {(name, one) for name, known in here.items() for one in known}
        there |= {(step.section, step.id) for step in steps if step.action is Action.CREATE}
        # Here under this name, and not what the archive means by it.
        there -= {(one.section, one.id) for one in steps if one.field in BY_NAME[one.section].same}
        lost = {at: gone for at, step in enumerate(steps) if (gone := _lost(step, there)) is not None}
        if not lost:
            return steps
        for at, (field, named, other) in lost.items():
            word = other.removesuffix("s").replace("_", " ")
            why = f"It needs the {word} {named}, which is neither here as it was nor restored."
            steps[at] = replace(steps[at], action=Action.REFUSED, changes=(), field=field, reason=why)


def _lost(step: Step, there: set[tuple[str, str]]) -> tuple[str, str, str] | None:
    """Of what it names, the first that would be missing: the field, the id, and in which section."""
    if step.action not in (Action.CREATE, Action.CHANGE) or step.after is None:
        return None
    section = BY_NAME[step.section]
    named = {path: (other, _at(step.after, path)) for path, other in section.refs.items() if path not in _AS_WRITTEN}
    if step.action is Action.CREATE and not section.of_system and any(name == "tenants" for name, _ in there):
        named["tenant_id"] = "tenants", step.tenant_id
    for path, (other, one) in named.items():
        is_changed = step.before is None or _at(step.before, path) != one
        if one and one != NO_SERVICE and is_changed and (other, one) not in there:
            return path, str(one), other
    return None


def _told_once(changes: Sequence[Change]) -> tuple[Change, ...]:
    """Without what a client wrote (`config.raw`) where the field that counts differs as well."""
    fields = {one.field for one in changes}
    return tuple(
        one for one in changes if not one.field.startswith(_RAW) or one.field.replace(_RAW, "config.", 1) not in fields
    )


def differences(before: Any, after: Any, path: str = "") -> Iterator[Change]:
    """Field by field, into objects; a list is one value."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for name in dict.fromkeys((*before, *after)):
            yield from differences(before.get(name), after.get(name), f"{path}.{name}" if path else str(name))
    elif before != after:
        yield Change(field=path, before=before, after=after)


def _at(one: Any, path: str) -> Any:
    for name in path.split("."):
        if not isinstance(one, Mapping):
            return None
        one = one.get(name)
    return one


def _with(one: Object, path: Sequence[str], value: Any) -> Object:
    first, *rest = path
    return {**one, first: _with(one[first], rest, value) if rest else value}
