"""Plots as SVG, written by hand; they are read on light and on dark pages."""

from __future__ import annotations

import math
from html import escape
from itertools import cycle

Series = dict[str, list[tuple[float, float]]]

WIDTH, LEFT, TOP = 760, 84, 78  # pixels
PLOT_WIDTH, PLOT_HEIGHT, BAR_HEIGHT = 630, 300, 16
COLOURS = ("#2e86ab", "#d1495b", "#3a7d44", "#8d6cab", "#b07d2b", "#5c8f8f")

STYLE = """<style>
svg{font:13px system-ui,sans-serif}.page{fill:#fff}.text{fill:#24292f}.small{fill:#57606a;font-size:12px}
.title{fill:#24292f;font-weight:600}.grid{stroke:#d8dee4}
@media (prefers-color-scheme:dark){
.page{fill:#0d1117}.text,.title{fill:#e6edf3}.small{fill:#9198a1}.grid{stroke:#30363d}}
</style>"""


def _page(title: str, height: float, parts: list[str]) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" role="img" '
        f'aria-label="{escape(title)}">'
    )
    page = f'<rect width="{WIDTH}" height="{height:.0f}" rx="8" class="page"/>'
    return "\n".join([head, STYLE, page, _text(16, 26, title, "title"), *parts, "</svg>\n"])


def _text(x: float, y: float, text: str, kind: str = "small", anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{kind}">{escape(text)}</text>'


def _legend(names: list[str]) -> list[str]:
    parts, x = [], 16.0
    for name, colour in zip(names, cycle(COLOURS), strict=False):
        parts.append(f'<circle cx="{x + 5:.1f}" cy="46" r="5" fill="{colour}"/>')
        parts.append(_text(x + 15, 50, name, "text"))
        x += 32 + 7 * len(name)
    return parts


def _decades(values: list[float]) -> tuple[int, int]:
    """Powers of ten between which all of the values lie."""
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    return low, max(high, low + 1)


def lines(title: str, x_label: str, series: Series) -> str:
    """Both axes are logarithmic."""
    x_low, x_high = _decades([x for points in series.values() for x, _ in points])
    y_low, y_high = _decades([max(y, 0.01) for points in series.values() for _, y in points])

    def place(x: float, y: float) -> tuple[float, float]:
        right = (math.log10(x) - x_low) / (x_high - x_low)
        up = (math.log10(max(y, 0.01)) - y_low) / (y_high - y_low)
        return LEFT + right * PLOT_WIDTH, TOP + (1 - up) * PLOT_HEIGHT

    parts = _legend(list(series))
    for power in range(y_low, y_high + 1):
        x, y = place(10.0**x_low, 10.0**power)
        parts.append(f'<path class="grid" d="M{x:.1f} {y:.1f}h{PLOT_WIDTH}"/>')
        parts.append(_text(x - 8, y + 4, f"{10.0**power:,.{max(0, -power)}f}", anchor="end"))
    for power in range(x_low, x_high + 1):
        x, y = place(10.0**power, 10.0**y_low)
        parts.append(f'<path class="grid" d="M{x:.1f} {y:.1f}v-{PLOT_HEIGHT}"/>')
        parts.append(_text(x, y + 18, f"{10**power:,}", anchor="middle"))
    parts.append(_text(LEFT + PLOT_WIDTH / 2, TOP + PLOT_HEIGHT + 38, x_label, anchor="middle"))
    for points, colour in zip(series.values(), cycle(COLOURS), strict=False):
        places = [place(*point) for point in sorted(points)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>' for x, y in places]
    return _page(title, TOP + PLOT_HEIGHT + 52, parts)


def bars(title: str, groups: dict[str, list[tuple[str, float, float]]]) -> str:
    """For each name in a group a bar up to its median, and a thin one up to its p99; logarithmic."""
    shown = [value for group in groups.values() for _, *both in group for value in both]
    low, high = _decades([max(value, 0.1) for value in shown])
    names = list(dict.fromkeys(name for group in groups.values() for name, _, _ in group))

    def length(value: float) -> float:
        return (math.log10(max(value, 10.0**low)) - low) / (high - low) * PLOT_WIDTH

    parts, y = _legend(names), float(TOP)
    for label, group in groups.items():
        parts.append(_text(16, y + 4, label, "text"))
        y += 14
        for name, p50, p99 in group:
            colour = COLOURS[names.index(name) % len(COLOURS)]
            middle = y + BAR_HEIGHT / 2
            parts.append(
                f'<rect x="16" y="{y:.1f}" width="{length(p50):.1f}" height="{BAR_HEIGHT}" fill="{colour}"/>'
                f'<path d="M16 {middle:.1f}h{length(p99):.1f}" stroke="{colour}" stroke-width="3"/>'
            )
            parts.append(_text(22 + length(p99), middle + 4, f"{p50:,.1f} / {p99:,.1f}"))
            y += BAR_HEIGHT + 5
        y += 22
    parts.append(_text(16, y - 8, f"bar: median; line: p99; logarithmic from {10.0**low:g} ms"))
    return _page(title, y + 6, parts)
