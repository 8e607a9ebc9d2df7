"""Checks of readiness: side by side, limited, and one at a time for each part."""

import threading

import pytest

from api.readiness import OK, Checkup, Ill
from inference.errors import Unavailable


@pytest.fixture
def gate():
    opened = threading.Event()
    yield opened
    opened.set()


def hangs_at(gate):
    calls = []

    def check(_core):
        calls.append(1)
        gate.wait()

    return calls, check


def well(_core):
    return None


def test_a_check_that_hangs_is_named_and_keeps_no_other_from_answering(gate):
    _, hangs = hangs_at(gate)

    found = Checkup({"stuck": hangs, "well": well}, limit_s=0.01).look(None)

    assert found.parts == {"stuck": "No answer within 0 s.", "well": OK}
    assert list(found.since) == ["stuck"]


def test_checks_run_beside_one_another():
    both = threading.Barrier(2, timeout=10)

    def meets(_core):
        both.wait()

    found = Checkup({"one": meets, "other": meets}, limit_s=10).look(None)

    assert found.parts == {"one": OK, "other": OK}


def test_a_check_that_hangs_takes_one_thread_however_often_it_is_asked_for(gate):
    calls, hangs = hangs_at(gate)
    checkup = Checkup({"stuck": hangs}, limit_s=0.01)

    findings = [checkup.look(None) for _ in range(5)]

    assert len(calls) == 1
    assert len({found.since["stuck"] for found in findings}) == 1, "it has been so from the first call on"


def test_all_that_is_ill_is_in_the_error():
    checkup = Checkup({"a": lambda _: Ill("It hurts."), "b": well, "c": lambda _: Ill("Me too.", 30.0)})

    with pytest.raises(Unavailable) as refused:
        checkup.look(None).require_well()

    assert refused.value.message == "Not ready: a: It hurts.; c: Me too."
    assert refused.value.details["parts"] == {"a": "It hurts.", "b": OK, "c": "Me too."}
    assert sorted(refused.value.details["since"]) == ["a", "c"]
    assert refused.value.details["since"]["c"] < refused.value.details["since"]["a"]
