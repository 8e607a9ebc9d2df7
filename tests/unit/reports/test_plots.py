"""Plots as SVG."""

import math
import xml.etree.ElementTree as ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.reports import plots, shown
from inference.reports.plots import Line

SVG = "{http://www.w3.org/2000/svg}"
values = st.lists(st.none() | st.floats(0, 1e12, allow_nan=False), max_size=40)


def parsed(svg: str) -> ElementTree.Element:
    return ElementTree.fromstring(svg.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1))


@given(st.floats(0, 1e15, allow_nan=False))
def test_an_axis_ends_at_a_round_number_that_nothing_is_above(largest: float):
    top, step = plots.scale(largest)

    assert top >= largest * (1 - 1e-6)
    assert top > 0
    assert 1 <= round(top / step) <= plots.TICKS + 1
    assert math.isclose(top / step, round(top / step))


@given(one=values, other=values)
def test_whatever_the_values_every_point_lies_inside_the_picture(one: list[float | None], other: list[float | None]):
    svg = plots.lines(
        [Line(name="one", values=one, is_filled=True), Line(name="other", values=other, colour=1)],
        title="t",
        labels=["x"] * len(one),
        shown=shown.count,
    )

    for line in parsed(svg).iter(f"{SVG}polyline"):
        for point in line.attrib["points"].split():
            x, y = (float(part) for part in point.split(","))
            assert 0 <= x <= plots.WIDTH
            assert 0 <= y <= plots.HEIGHT


def test_a_gap_ends_a_line_and_a_value_alone_is_a_dot():
    svg = plots.lines(
        [Line(name="n", values=[1.0, 2.0, None, 3.0, None])], title="t", labels=["a"] * 5, shown=shown.count
    )

    assert (svg.count("<polyline"), svg.count("<circle")) == (1, 1)


def test_steps_of_one_day_name_it_once():
    labels = ["11-16"] * 4 + ["11-17"] * 8

    svg = plots.lines([Line(name="n", values=[1.0] * 12)], title="t", labels=labels, shown=shown.count)

    assert (svg.count(">11-16<"), svg.count(">11-17<")) == (1, 1)


@pytest.mark.parametrize("hostile", ["<script>alert(1)</script>", "\"><image href='x'>", "]]>&"])
def test_names_and_labels_are_escaped(hostile: str):
    svg = plots.lines(
        [Line(name=hostile, values=[1.0, 2.0])], title=hostile, labels=[hostile] * 2, shown=lambda _: hostile
    )

    assert "<script" not in svg
    assert "<image" not in svg
    assert hostile in {text.text for text in parsed(svg).iter(f"{SVG}text")}
