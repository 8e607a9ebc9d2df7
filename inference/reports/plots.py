"""Plots as SVG: small pure functions that need no library. Colours are attributes, for readers that know no CSS there.

The page's style sheet may set others by class, as it does in the dark. All text is escaped here.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 720, 190
LEFT, RIGHT, TOP, BOTTOM = 58, 10, 26, 24
COLOURS = ("#2563c9", "#d9480f", "#0b7a55", "#8a3ffc")
GRID, INK = "#dfe3e8", "#5b6673"
TICKS = 4
LEAST = 1e-9
"""What is less counts as nothing."""
MOST_X_LABELS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """Values by step; None is a gap. `colour`: which of the plot's colours."""

    name: str
    values: Sequence[float | None]
    colour: int = 0
    is_filled: bool = False


def lines(
    given: Sequence[Line],
    *,
    title: str,
    labels: Sequence[str],
    shown: Callable[[float], str],
    most: float | None = None,
) -> str:
    """One plot with its axis from zero, its legend, and labels under some of its steps. `most`: the end of its axis."""
    top, step = scale(max([0.0, *(v for line in given for v in line.values if v is not None)]), most)
    body = [_grid(top, step, shown), _labels(labels)]
    body += [_line(line, top) for line in given]
    body.append(_legend(given))
    name = escape(title)
    return (
        f'<svg class="plot" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{name}" '
        f'font-family="sans-serif" font-size="11"><title>{name}</title>{"".join(body)}</svg>'
    )


def bar(part: float) -> str:
    """A bar of this share of its width."""
    wide = round(100 * min(1.0, max(0.0, part)), 2)
    return (
        '<svg class="bar" viewBox="0 0 100 8" width="100" height="8" aria-hidden="true">'
        f'<rect class="rest" width="100" height="8" rx="2" fill="{GRID}"/>'
        f'<rect class="fill1" width="{wide}" height="8" rx="2" fill="{COLOURS[1]}"/></svg>'
    )


def scale(largest: float, most: float | None = None) -> tuple[float, float]:
    """(end of the axis, distance of its lines): round numbers, at least `largest`."""
    if most is not None:
        return most, most / TICKS
    if largest < LEAST or not math.isfinite(largest):
        return 1.0, 1.0
    raw = largest / TICKS
    unit = 10 ** math.floor(math.log10(raw))
    step = next(unit * easy for easy in (1, 2, 2.5, 5, 10) if unit * easy >= raw * (1 - 1e-9))
    return math.ceil(largest / step - 1e-9) * step, step


def _y(value: float, top: float) -> float:
    return round(HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * min(value, top) / top, 1)


def _x(index: int, count: int) -> float:
    return round(LEFT + (WIDTH - LEFT - RIGHT) * (index / max(1, count - 1)), 1)


def _grid(top: float, step: float, shown: Callable[[float], str]) -> str:
    drawn = []
    for number in range(round(top / step) + 1):
        y = _y(number * step, top)
        drawn.append(
            f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}" stroke="{GRID}"/>'
            f'<text class="ink" x="{LEFT - 6}" y="{y + 4}" text-anchor="end" fill="{INK}">'
            f"{escape(shown(number * step))}</text>"
        )
    return "".join(drawn)


def _labels(labels: Sequence[str]) -> str:
    every = max(1, math.ceil(len(labels) / MOST_X_LABELS))
    places = [at for at in range(0, len(labels), every) if at == 0 or labels[at] != labels[at - every]]
    return "".join(
        f'<text class="ink" x="{_x(place, len(labels))}" y="{HEIGHT - 7}" '
        f'text-anchor="{"start" if not place else "middle"}" fill="{INK}">{escape(labels[place])}</text>'
        for place in places
        if place == 0 or _x(place, len(labels)) < WIDTH - RIGHT - 14
    )


def _line(line: Line, top: float) -> str:
    """Each run of values between gaps is drawn by itself; a value alone is a dot."""
    colour, drawn = COLOURS[line.colour], []
    for begin, run in _runs(line.values):
        points = [(_x(begin + at, len(line.values)), _y(value, top)) for at, value in enumerate(run)]
        if len(points) == 1:
            x, y = points[0]
            drawn.append(f'<circle class="fill{line.colour}" cx="{x}" cy="{y}" r="2.5" fill="{colour}"/>')
            continue
        path = " ".join(f"{x},{y}" for x, y in points)
        if line.is_filled:
            floor = HEIGHT - BOTTOM
            drawn.append(
                f'<polygon class="fill{line.colour}" points="{points[0][0]},{floor} {path} {points[-1][0]},{floor}" '
                f'fill="{colour}" fill-opacity="0.15"/>'
            )
        drawn.append(
            f'<polyline class="line{line.colour}" points="{path}" fill="none" stroke="{colour}" '
            'stroke-width="1.8" stroke-linejoin="round"/>'
        )
    return "".join(drawn)


def _runs(values: Sequence[float | None]) -> list[tuple[int, list[float]]]:
    found: list[tuple[int, list[float]]] = []
    is_open = False
    for at, value in enumerate(values):
        if value is None or not math.isfinite(value):
            is_open = False
            continue
        if not is_open:
            found.append((at, []))
            is_open = True
        found[-1][1].append(value)
    return found


def _legend(given: Sequence[Line]) -> str:
    x, drawn = float(LEFT), []
    for line in given:
        drawn.append(
            f'<rect class="fill{line.colour}" x="{x:g}" y="7" width="10" height="10" rx="2" '
            f'fill="{COLOURS[line.colour]}"/>'
            f'<text class="ink" x="{x + 15:g}" y="16" fill="{INK}">{escape(line.name)}</text>'
        )
        x += 34 + sum(11 if ord(char) > 0x2E80 else 6.2 for char in line.name)
    return "".join(drawn)
