"""Charts of growth as SVG: both axes are logarithmic, so that what grows as a power of the size is a straight line."""

import math
from collections.abc import Iterator, Mapping, Sequence
from html import escape

from reconciler.values.value import Value

_LEFT, _TOP, _WIDTH, _HEIGHT = 62, 44, 290, 210  # of a panel's plot, in pixels
_PANEL = 380  # the width of a panel with all that is around its plot
_COLOURS = ("#00897b", "#546e7a", "#c62828", "#1565c0", "#6a1b9a")

Points = Sequence[tuple[float, float]]


class Panel(Value, frozen=True):
    """One plot: its title, the decades of its y axis, the name of its unit, and a line of points for each name."""

    title: str
    decades: tuple[int, int]
    unit: str
    lines: Mapping[str, Points]


def draw(panels: Sequence[Panel], label: str, of: str) -> str:
    """Draw panels beside each other; `of` names the x axis."""
    width, height = _PANEL * len(panels), _TOP + _HEIGHT + 50
    parts = "\n".join(line for place, panel in enumerate(panels) for line in _draw_panel(panel, place * _PANEL, of))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="system-ui, sans-serif" '
        f'font-size="12" role="img" aria-label="{escape(label)}">\n'
        "  <style>text { fill: #263238 } .axis { stroke: #cfd8dc } polyline { fill: none; stroke-width: 2 }</style>\n"
        f'  <rect width="{width}" height="{height}" fill="#fafafa" rx="6"/>\n{parts}\n</svg>\n'
    )


def _draw_panel(panel: Panel, left: int, of: str) -> Iterator[str]:
    sizes = [x for points in panel.lines.values() for x, _ in points]
    across = (math.floor(math.log10(min(sizes))), math.ceil(math.log10(max(sizes))))
    yield f'  <text x="{left + _LEFT}" y="24" font-size="14">{escape(panel.title)}</text>'
    for decade in range(panel.decades[0], panel.decades[1] + 1):
        y = _TOP + _HEIGHT - _place(10.0**decade, panel.decades) * _HEIGHT
        yield f'  <line class="axis" x1="{left + _LEFT}" x2="{left + _LEFT + _WIDTH}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield f'  <text x="{left + _LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{_write(decade)} {panel.unit}</text>'
    for decade in range(across[0], across[1] + 1):
        x = left + _LEFT + _place(10.0**decade, across) * _WIDTH
        yield f'  <line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{_TOP + _HEIGHT}"/>'
        yield f'  <text x="{x:.1f}" y="{_TOP + _HEIGHT + 18}" text-anchor="middle">{_write(decade)}</text>'
    middle = left + _LEFT + _WIDTH // 2
    yield f'  <text x="{middle}" y="{_TOP + _HEIGHT + 38}" text-anchor="middle">{escape(of)}</text>'
    for place, (name, points) in enumerate(panel.lines.items()):
        yield from _draw_line(place, [_locate(point, left, across, panel.decades) for point in points])
        at = f'x="{left + _LEFT + 8}" y="{_TOP + 14 + 16 * place}"'
        yield f'  <text {at} style="fill: {_COLOURS[place]}">{escape(name)}</text>'


def _draw_line(place: int, points: Points) -> Iterator[str]:
    colour = _COLOURS[place]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    yield f'  <polyline points="{path}" stroke="{colour}"/>'
    yield from (f'  <circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in points)


def _locate(point: tuple[float, float], left: int, across: tuple[int, int], up: tuple[int, int]) -> tuple[float, float]:
    x, y = point
    return left + _LEFT + _place(x, across) * _WIDTH, _TOP + _HEIGHT - _place(y, up) * _HEIGHT


def _place(value: float, decades: tuple[int, int]) -> float:
    """Give where a value lies between two powers of ten, from 0 to 1."""
    found = (math.log10(max(value, 10.0 ** decades[0])) - decades[0]) / (decades[1] - decades[0])
    return min(1.0, found)


def _write(decade: int) -> str:
    return f"{10**decade:,}" if decade >= 0 else f"{10.0**decade:.{-decade}f}"
