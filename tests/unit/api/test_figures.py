"""Figures of requests: they are booked by a thread that ends with what it books for."""

import threading

from api import figures
from api.figures import RequestFigures
from inference.telemetry import metrics


def _requests(route: str) -> float:
    return metrics.http_requests.labels(route, "200")._value.get()


def test_what_was_noted_is_booked_once() -> None:
    noted = RequestFigures()
    before = _requests("/noted")

    noted._noted.extend([("/noted", 200, 0.1)] * 3)
    noted.book()
    noted.book()

    assert _requests("/noted") - before == 3


def test_the_thread_ends_when_nobody_has_the_figures_any_more(monkeypatch) -> None:
    monkeypatch.setattr(figures, "EVERY_S", 0.001)
    noted = RequestFigures()
    noted.note("/gone", 200, 0.1)
    thread = noted._thread
    assert thread in threading.enumerate()

    del noted

    thread.join(5)
    assert not thread.is_alive()
