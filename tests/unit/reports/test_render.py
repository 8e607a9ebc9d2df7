"""The page: one file that loads nothing, in which no name of anybody is more than text."""

import base64
import dataclasses
import hashlib
import re
import sys
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.errors import PdfUnavailable
from inference.reports.model import LANGUAGES, ErrorCase, Format
from inference.reports.render import render
from tests import fakes_reports
from tests.fakes_reports import SERVICE, facts, figures, report, system_facts

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'><b>&amp;{{ 7 * 7 }}{% raw %}"
VOID = {"meta", "br", "img", "input", "link"}


class Page(HTMLParser):
    """Its elements, its attributes and its text; unbalanced elements are an error."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def page_of(**given: object) -> tuple[str, Page]:
    language = given.pop("language", "en")
    text = render(report(language=language, **given), facts(), base_url="")[0].decode()
    return text, Page(text)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_page_holds_all_it_shows_and_asks_nobody_for_anything(language: str):
    text, page = page_of(language=language)

    assert not {"script", "img", "iframe", "link", "object", "form", "base"} & set(page.tags)
    assert not [one for one in page.attributes if one[1].startswith("on") or one[1] in ("src", "style")]
    assert {value for _, name, value in page.attributes if name == "href"} == {
        f"/api/v1/inference/tasks/{task}" for task in re.findall(r'href="[^"]+/([0-9a-f]{32})"', text)
    }
    assert "url(" not in text
    assert page.tags.count("svg") == 4 + 3


def test_its_policy_lets_its_own_style_through_and_nothing_else():
    text, page = page_of()

    (style,) = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    (policy,) = [value for tag, name, value in page.attributes if name == "content" and "default-src" in value]
    assert policy.startswith(f"default-src 'none'; style-src 'sha256-{digest}';")
    assert "unsafe" not in policy


@pytest.mark.parametrize("language", LANGUAGES)
def test_hostile_names_and_messages_are_shown_as_they_are_and_do_nothing(language: str):
    hostile = dataclasses.replace(
        system_facts(
            errors=[ErrorCase(code=HOSTILE, count=3, task_id="a" * 32, message=HOSTILE)],
            now=figures(errors={HOSTILE: 3}, failed=900_000),
            alerts=[dataclasses.replace(one, name=HOSTILE, resolved_at=None) for one in facts().alerts],
            slowest=[dataclasses.replace(one, worker=HOSTILE) for one in facts().slowest],
        ),
        subjects=[dataclasses.replace(one, name=HOSTILE) for one in system_facts().subjects],
    )

    for service_id in ("", SERVICE):
        text = render(report(language=language, service_id=service_id), hostile, base_url="")[0].decode()
        page = Page(text)

        assert not {"script", "img", "b"} & set(page.tags)
        assert not [one for one in page.attributes if one[1].startswith("on")]
        assert HOSTILE in "".join(page.words)


@given(st.text("<>&\"'{}%#;/ab \u4e2d\U0001f600\u202e", max_size=40))
def test_any_name_is_text_and_nothing_else(name: str):
    named = facts(subjects=[dataclasses.replace(facts().subjects[0], name=name)])

    page = Page(render(report(), named, base_url="")[0].decode())

    assert f"Report on {name}" in page.words
    assert not {"script", "img", "a b"} & set(page.tags)


def test_a_range_that_was_widened_says_so():
    asked, hour = report(since=fakes_reports.BEGIN + 1_800), facts()
    exact = render(report(), hour, base_url="")[0].decode()
    widened = render(asked, hour, base_url="")[0].decode()

    assert "no finer ones are kept" not in exact
    assert "The figures cover 2026-11-19 00:00 to 2026-11-20 00:00" in widened


def test_links_are_absolute_where_people_reach_the_system_elsewhere():
    text = render(report(), facts(), base_url="https://penstock.example.org/")[0].decode()

    assert 'href="https://penstock.example.org/api/v1/inference/tasks/' in text


def test_the_change_of_each_figure_is_told_with_its_verdict():
    text, _ = page_of()
    (row,) = re.findall(r"<tr><td>Latency, 95 %</td>.*?</tr>", text)

    assert re.findall(r">([^<>]+)</td>", row) == ["Latency, 95 %", "71.3 ms", "52 ms", "▲ 37 %"]
    assert 'class="n worse"' in row


def test_without_the_library_pdf_is_refused_in_a_sentence_and_html_still_works(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "weasyprint", None)

    with pytest.raises(PdfUnavailable, match=r"requirements/extras\.txt"):
        render(report(format=Format.PDF), facts(), base_url="")
    assert render(report(), facts(), base_url="")[0].startswith(b"<!doctype html>")
