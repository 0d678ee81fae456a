"""The report's two pictures, as SVG that needs no script and no package: gains as bars, and what was tried as points.

Runs in the kernel that holds the model. Text and axes take the colour of the text around them, so that the pictures can
be read on light and dark pages; the two hues used beside it can be told apart by most who see colours differently.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

WIDTH, ROW, LEFT = 640, 22, 150
HEIGHT, EDGE = 300, 48
GOOD, BAD = "#2f8fd8", "#e0761f"

#: Name, bytes zipped, speed (times that of the model before), metric.
Point = tuple[str, int, float, float]


def gains(found: Sequence[tuple[str, float]]) -> str:
    """How many times smaller and faster each figure got, as bars from 1 on a logarithmic scale; "" for none."""
    if not found:
        return ""
    reach = max(1.0, *(abs(math.log10(ratio)) for _, ratio in found)) * 1.15
    worst = min(0.0, *(math.log10(ratio) for _, ratio in found)) * 1.15
    scale = (WIDTH - LEFT - 70) / (reach - worst)
    zero = LEFT - worst * scale
    parts = []
    for index, (label, ratio) in enumerate(found):
        y = 4 + index * ROW
        end = zero + math.log10(ratio) * scale
        x, width = min(zero, end), max(abs(end - zero), 1)
        colour = GOOD if ratio >= 1 else BAD
        parts.append(
            f'<text x="{LEFT - 8}" y="{y + 13}" text-anchor="end">{escape(label)}</text>'
            f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{ROW - 6}" rx="2" fill="{colour}"/>'
            f'<text x="{max(zero, end) + 6:.1f}" y="{y + 13}">{ratio:.3g}×</text>'
        )
    height = 8 + len(found) * ROW
    parts.append(f'<line x1="{zero:.1f}" x2="{zero:.1f}" y1="0" y2="{height}" stroke="currentColor"/>')
    return _svg(height, "How many times smaller and faster it is than before", parts)


def front(points: Sequence[Point], others: Sequence[Point], *, chosen: str, judged: str) -> str:
    """Size across, speed upwards, logarithmic; filled: what nothing beats; ringed: what was chosen. "" for none."""
    everything = [*points, *others]
    if not points:
        return ""
    across = _Axis([size for _, size, _, _ in everything], EDGE, WIDTH - 20)
    up = _Axis([speed for _, _, speed, _ in everything], HEIGHT - EDGE, 16)
    parts = [
        f'<path d="M{EDGE} 8V{HEIGHT - EDGE}H{WIDTH - 12}" fill="none" stroke="currentColor"/>',
        f'<text x="{(EDGE + WIDTH) / 2}" y="{HEIGHT - 8}" text-anchor="middle">bytes, zipped (left is smaller)</text>',
        f'<text x="14" y="{HEIGHT / 2}" text-anchor="middle" transform="rotate(-90 14 {HEIGHT / 2})">'
        "speed against before</text>",
    ]
    for values, along, place in (
        ([size for _, size, _, _ in everything], across, "x"),
        ([speed for _, _, speed, _ in everything], up, "y"),
    ):
        for value in dict.fromkeys((min(values), max(values))):
            if place == "x":
                parts.append(
                    f'<text x="{along(value):.1f}" y="{HEIGHT - EDGE + 16}" text-anchor="middle">{value:,}</text>'
                )
            else:
                parts.append(f'<text x="{EDGE - 4}" y="{along(value) + 4:.1f}" text-anchor="end">{value:.2g}×</text>')
    names = {name for name, *_ in points}
    for name, size, speed, metric in others:
        if name not in names:
            parts.append(_point(across(size), up(speed), f"{name}: {judged} {metric:.4f}", 'fill="none" opacity="0.6"'))
    for name, size, speed, metric in points:
        x, y = across(size), up(speed)
        if name == chosen:
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="10" fill="none" stroke="{BAD}" stroke-width="2"/>')
        parts.append(_point(x, y, f"{name}: {judged} {metric:.4f}", f'fill="{GOOD}"'))
        anchor, shift = ("end", -13) if x > WIDTH * 0.8 else ("start", 13)
        parts.append(f'<text x="{x + shift:.1f}" y="{y + 4:.1f}" text-anchor="{anchor}">{metric:.3f}</text>')
    return _svg(HEIGHT, f"Size, speed and {judged} of what was tried; the numbers are the {judged}", parts)


class _Axis:
    """From values to places, logarithmically."""

    def __init__(self, values: Sequence[float], start: float, end: float) -> None:
        low, high = math.log(min(values)), math.log(max(values))
        room = (high - low) * 0.08 or 0.5
        self._low, self._high, self._start, self._end = low - room, high + room, start, end

    def __call__(self, value: float) -> float:
        way = (math.log(value) - self._low) / (self._high - self._low)
        return self._start + way * (self._end - self._start)


def _point(x: float, y: float, words: str, style: str) -> str:
    return (
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" stroke="currentColor" stroke-width="1" {style}>'
        f"<title>{escape(words)}</title></circle>"
    )


def _svg(height: float, title: str, parts: Sequence[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{escape(title, quote=True)}" '
        f'viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" style="max-width:100%;height:auto;font:12px sans-serif" '
        f'fill="currentColor"><title>{escape(title)}</title>{"".join(parts)}</svg>'
    )
