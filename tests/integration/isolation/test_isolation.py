"""Nobody reaches what another tenant has, nor what lies in their own tenant outside their key's scope.

Every operation of the OpenAPI document that takes an id is called with one that is not the caller's, with one that
nobody has, and with the caller's own; once on SQLite and once on PostgreSQL.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.integration.isolation import sweep
from tests.integration.isolation.recorder import Recorder
from tests.integration.isolation.sweep import Case
from tests.integration.isolation.two_tenants import HOST, OF_ALL, World

REACHES = ("service", "workspace", "tenant", "system")


@dataclass(frozen=True)
class View:
    """Who calls, with what is theirs and what is not. `hidden`: what they must never read."""

    name: str
    key: str
    reach: str
    own: Mapping[str, str]
    others: Mapping[str, str]
    hidden: frozenset[str]
    allowed: frozenset[str] = frozenset()

    def may(self, case: Case) -> bool:
        return REACHES.index(case.reach) <= REACHES.index(self.reach)


@dataclass(frozen=True)
class Answer:
    status: int
    text: str

    @property
    def code(self) -> str:
        found = re.match(r'{"code":"(\w+)"', self.text)
        return found[1] if found else ""


@dataclass
class Swept:
    """What came of one case from one point of view; `changed` names the tables that refused calls have changed."""

    view: View
    case: Case
    foreign: Answer
    by_alias: Answer
    nobodys: Answer
    foreign_id: str
    nobodys_id: str
    changed: list[str] = field(default_factory=list)
    own: Answer | None = None

    def __str__(self) -> str:
        return f"{self.view.name}: {self.case}"


def views(world: World) -> list[View]:
    ash, oak = (world.ids[tenant] for tenant in ("ashtree", "oaktree"))
    keys = world.keys
    service = {name: oak["south"][name] for name in ("service_id", "task_id")}
    service |= {"key_id": oak["south"]["service_key_id"]}
    whole = {name: oak["south"][name] for name in OF_ALL}
    outside = {**oak["north"], "service_id": oak["north"]["deployed_service_id"]}
    return [
        View("another tenant", keys["ashtree"]["tenant"], "tenant", ash["south"], oak["north"],
             frozenset(world.known_of("oaktree"))),
        View("the system's own tenant", world.system_key, "system", {"tenant_id": "oaktree"}, oak["north"],
             frozenset(world.known_of("oaktree")), allowed=frozenset({"tenant_id"})),
        View("another workspace", keys["ashtree"]["north"], "workspace", ash["north"], ash["south"],
             frozenset(world.known_of("ashtree", "south")), allowed=OF_ALL),
        View("another service", keys["oaktree"]["service in south"], "service", whole | service, outside,
             frozenset(world.known_of("oaktree", "north")), allowed=OF_ALL),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def swept(world: World, document: Any, recorder: Recorder) -> list[Swept]:
    """All that must be refused comes first, from every point of view; what may be done comes last."""
    found = [refused(world, recorder, view, case) for view, case in pairs(world, document)]
    for one in found:
        if one.case.needed <= set(one.view.own):
            one.own = ask(world, recorder, one.view, one.case, one.view.own)
    return found


def pairs(world: World, document: Any) -> list[tuple[View, Case]]:
    every = sweep.cases(document)
    """Refusals first; a key of the system is asked about tenants elsewhere, since it may see them."""
    return [
        (view, case)
        for view in views(world)
        for case in every
        if case.name not in view.allowed
        and case.needed - {case.name} <= set(view.own)
        and not (view.reach == "system" and case.operation.partition(" ")[2] in sweep.OF_THE_INSTALLATION)
    ]


def refused(world: World, recorder: Recorder, view: View, case: Case) -> Swept:
    filled = {**view.others, **view.own}
    foreign, nobodys = view.others[case.name], sweep.unknown_id(case.name)
    before = world.dump()
    answers = [
        ask(world, recorder, view, case, {**filled, case.name: wanted}, prefix=prefix)
        for wanted, prefix in ((foreign, sweep.BASE), (foreign, sweep.ALIAS), (nobodys, sweep.BASE))
    ]
    after = world.dump()
    changed = [name for name in before if before[name] != after[name]]
    return Swept(view, case, *answers, foreign_id=foreign, nobodys_id=nobodys, changed=changed)


def ask(
    world: World,
    recorder: Recorder,
    view: View,
    case: Case,
    ids: Mapping[str, str],
    *,
    prefix: str = sweep.BASE,
) -> Answer:
    with recorder.watching(case.operation):
        answer = world.ask(view.key, **case.request(ids, prefix=prefix))
        return Answer(answer.status_code, answer.text)


def test_every_operation_with_an_id_is_known_here(document: Any) -> None:
    operations = dict(sweep.operations(document))
    with_ids = {name for name, said in operations.items() if sweep.ids_of(document, name, said)}

    covered = {case.operation for case in sweep.cases(document)}

    print(f"{len(covered)} of {len(with_ids)} operations with an id, in {len(sweep.cases(document))} ways")
    assert sweep.unknown(document) == []
    assert covered == with_ids
    assert len(covered) >= 40


def test_what_is_not_the_callers_is_not_found(swept: list[Swept]) -> None:
    wrong = []
    for one in swept:
        expected = (200, "") if one.case.is_filter else (404, one.nobodys.code)
        if one.case.is_setting:
            expected = (422, "invalid_field")
        if not one.view.may(one.case):
            expected = (403, "scope_too_narrow")
        wrong += [
            f"{one}: {answer.status} {answer.text[:300]}"
            for answer in (one.foreign, one.by_alias)
            if (answer.status, answer.code) != expected
        ]

    assert "\n".join(wrong) == ""


def test_the_answer_is_that_for_an_id_which_nobody_has(swept: list[Swept]) -> None:
    different = [
        f"{one}:\n  {one.foreign.text[:300]}\n  {one.nobodys.text[:300]}"
        for one in swept
        if not (
            one.case.is_filter and {"cursor", "after"} & one.case.call.query.keys()
        )  # which say where a page begins
        and (one.foreign.status, one.foreign.text.replace(one.foreign_id, "ID"))
        != (one.nobodys.status, one.nobodys.text.replace(one.nobodys_id, "ID"))
    ]

    assert "\n".join(different) == ""


def test_no_answer_names_what_is_not_the_callers(swept: list[Swept]) -> None:
    told = [
        f"{one} tells {name}: {answer.text[:300]}"
        for one in swept
        for answer in (one.foreign, one.by_alias, one.own or one.foreign)
        for name in one.view.hidden - {one.foreign_id}
        if name in answer.text and not (one.view.reach == "system" and answer is one.own)
    ]

    assert "\n".join(told) == ""


def test_a_refused_call_changes_no_row_and_no_file(swept: list[Swept]) -> None:
    assert {str(one): one.changed for one in swept if one.changed} == {}


def test_the_same_call_with_the_callers_own_id_works(swept: list[Swept]) -> None:
    wrong = [
        f"{one}: {one.own.status} {one.own.text[:300]}"
        for one in swept
        if one.own is not None and one.view.may(one.case) and not (200 <= one.own.status < 300 or one.own.status == 409)
    ]
    worked = {one.case.operation for one in swept if one.own is not None and one.view.may(one.case)}
    of_the_installation = {one.case.operation for one in swept if one.case.reach == "system"}

    assert "\n".join(wrong) == ""
    assert {one.case.operation for one in swept} == worked | of_the_installation


def test_calls_about_the_installation_work_for_a_key_of_the_system(world: World, document: Any) -> None:
    found = {}
    for case in sweep.cases(document):
        if case.reach == "system":
            ids = ({"tenant_id": "oaktree", "node_id": HOST}, {"tenant_id": "nobody", "node_id": "no-host"})
            filters = {name: sweep.unknown_id(name) for name in ("service_id", "task_id", "audit_seq")}
            answers = [world.ask(world.system_key, **case.request(filters | one)) for one in ids]
            found[str(case)] = [answer.status_code for answer in answers]

    assert found
    assert {of: said for of, said in found.items() if said[0] not in (200, 204, 409) or said[1] not in (404, 200)} == {}
