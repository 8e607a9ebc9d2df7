"""Renders a report: one HTML file that needs nothing else, or a PDF of the same page."""

import functools
import logging
from typing import TYPE_CHECKING, Any

from inference.errors import PdfUnavailable
from inference.reports.model import Facts, Format, Report
from inference.reports.style import HERE, policy, style
from inference.reports.texts import CATALOGUE
from inference.reports.view import View, view

if TYPE_CHECKING:
    import jinja2

PAGE = "report.html"
SHOWN_MISSING = 5


def render(report: Report, facts: Facts, *, base_url: str) -> tuple[bytes, str]:
    """The file, and its paragraph. Raises PdfUnavailable."""
    told = view(report, facts, base_url=base_url)
    page = html(told)
    return (pdf(page, report.language) if report.format is Format.PDF else page.encode()), told.summary


def html(told: View) -> str:
    """Everything that is no plot of ours is escaped; a name that the template misses is an error."""
    from markupsafe import Markup

    # Escaped, the style's digest would be that of another text.
    page: str = _template().render(v=told, style=Markup(style()), policy=policy())  # noqa: S704
    return page


@functools.cache
def _template() -> "jinja2.Template":
    import jinja2

    places = jinja2.FileSystemLoader(HERE)
    return jinja2.Environment(loader=places, autoescape=True, undefined=jinja2.StrictUndefined).get_template(PAGE)


def pdf(page: str, language: str) -> bytes:
    """Pages with numbers, fonts embedded. Raises PdfUnavailable, also where no font has the letters of the language."""
    try:
        import weasyprint  # it needs Pango, a library of the system
    except (ImportError, OSError) as error:
        raise PdfUnavailable(
            "PDF needs WeasyPrint and Pango: install requirements/extras.txt and the package libpangoft2-1.0-0.",
            reason=str(error)[:200],
        ) from error
    logging.getLogger("weasyprint").setLevel(logging.ERROR)  # it tells of each rule that is for screens
    document = weasyprint.HTML(string=page, base_url=None, url_fetcher=_nothing).render()
    body: bytes = document.write_pdf()
    # Boxes for a letter in somebody's error message can be borne; not for each of our own.
    letters = set("".join(CATALOGUE[language].values()))
    if lost := sorted(letters & {chr(code) for font in document.fonts.values() for code in font.missing}):
        raise PdfUnavailable(
            f"No font here has {' '.join(lost[:SHOWN_MISSING])}: install one that does, such as the package "
            "fonts-noto-cjk for Chinese.",
            missing=len(lost),
        )
    return body


def _nothing(url: str, *_: Any, **__: Any) -> Any:
    raise ValueError(f"a report loads nothing, and not {url[:100]}")
