"""The paragraph on top."""

import dataclasses

import pytest

from inference.reports.model import LANGUAGES, Facts, Figures
from inference.reports.story import MOST_LOOKS, changes, happened, looks, paragraph
from tests.fakes_reports import facts, figures

CALM = facts(
    now=figures(failed=0, errors={}, idle_money=1.0), before=figures(failed=0, errors={}), alerts=[], errors=[]
)


def of(**changed: object) -> Facts:
    return dataclasses.replace(CALM, now=dataclasses.replace(CALM.now, **changed))


@pytest.mark.parametrize(
    ("given", "first"),
    [
        (of(), "look_nothing"),
        (dataclasses.replace(CALM, alerts=facts().alerts), "look_alerts"),
        (of(done=0, queue=5.0), "look_silent"),
        (dataclasses.replace(of(failed=100_000), errors=facts().errors), "look_errors"),
        (of(wait_s=0.5, run_s=0.1), "look_waiting"),
        (of(run_s=0.0099), "look_engine"),
        (of(money=10.0, idle_money=6.0), "look_idle"),
        (of(gpu=0.1), "look_gpu"),
    ],
)
def test_what_deserves_a_look_comes_first(given: Facts, first: str):
    assert looks(given)[0][0] == first


def test_no_more_looks_are_told_than_a_person_takes():
    everything = of(done=0, queue=5.0, wait_s=9.0, run_s=1.0, money=10.0, idle_money=9.0, gpu=0.01, failed=10)

    assert len(looks(dataclasses.replace(everything, alerts=facts().alerts, errors=facts().errors))) == MOST_LOOKS


@pytest.mark.parametrize(
    ("now", "before", "keys"),
    [
        (figures(), figures(), []),
        (figures(done=1_300_000), figures(done=1_284_310), []),
        (figures(done=2_000_000, failed=0), figures(done=1_000_000, failed=0), ["rose_per_s"]),
        (figures(p95_s=0.2), figures(p95_s=0.1), ["rose_p95"]),
        (figures(p95_s=0.1), figures(p95_s=0.2), ["fell_p95"]),
        (figures(failed=100_000), figures(failed=0), ["rose_errors"]),
        (figures(money=10.0), figures(money=20.0), ["fell_money"]),
        (figures(), Figures(span_s=86_400), []),
    ],
)
def test_a_change_is_told_once_it_is_more_than_what_a_day_brings(now: Figures, before: Figures, keys: list[str]):
    assert [key for key, _ in changes(now, before)] == keys


@pytest.mark.parametrize(
    ("now", "keys"),
    [
        (Figures(span_s=60), ["said_nothing"]),
        (Figures(span_s=60, submitted=4), ["said_only_came"]),
        (Figures(span_s=60, done=1, p95_s=0.1), ["said_one_done", "said_none_failed"]),
        (Figures(span_s=60, failed=2, errors={"timed_out": 2}), ["said_none_done", "said_failed"]),
        (figures(), ["said_done", "said_failed", "said_cost"]),
    ],
)
def test_what_happened_is_told_of_any_range(now: Figures, keys: list[str]):
    assert [key for key, _ in happened(dataclasses.replace(CALM, now=now))] == keys


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("given", [CALM, facts(), facts(now=Figures(span_s=60), before=Figures(span_s=60))])
def test_each_paragraph_is_whole_sentences_without_blanks(given: Facts, language: str):
    said = paragraph(given, language)

    assert said.endswith("." if language == "en" else "。")
    assert "{" not in said
    assert "  " not in said
