"""No text is missing in a language, and none is left over."""

import re
import string
from pathlib import Path

from inference.reports.model import LANGUAGES
from inference.reports.texts import CATALOGUE

ROOM = Path(__file__).parents[3] / "inference" / "reports"


def blanks(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


def test_both_languages_have_the_same_keys_and_each_text_the_same_blanks():
    english = CATALOGUE["en"]

    assert tuple(CATALOGUE) == LANGUAGES
    for language, words in CATALOGUE.items():
        assert set(words) == set(english)
        assert {key: blanks(text) for key, text in words.items()} == {k: blanks(text) for k, text in english.items()}
        assert all(words[key] for key in words if key != "space"), language


def test_each_text_is_used_somewhere():
    files = [path for path in ROOM.iterdir() if path.suffix in (".py", ".html") and "texts" not in path.name]
    code = "".join(path.read_text() for path in files)
    severities = {"critical", "warning", "info"}  # taken by the name that the alert has
    made_of_way_and_figure = {key for key in CATALOGUE["en"] if re.match(r"(rose|fell)_", key)}

    unused = [key for key in CATALOGUE["en"] if not re.search(rf"""["'.]{key}\b""", code)]

    assert set(unused) <= made_of_way_and_figure | severities


def test_every_text_that_the_page_names_is_there():
    named = set(re.findall(r"v\.words\.(\w+)", (ROOM / "report.html").read_text()))

    assert named <= set(CATALOGUE["en"])
