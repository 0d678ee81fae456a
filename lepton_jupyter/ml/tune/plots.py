"""The pictures of a study, as SVG that needs no script and no package: history, importance, parallel coordinates.

Runs in the kernel that ran the trials. Text and axes take the colour of the text around them, so that the pictures can
be read on light and dark pages; the best is told by its hue and by its width or size.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from .space import Choice, Domain, Range, Space
from .study import Tried

WIDTH, HEIGHT, EDGE = 640, 240, 46
GOOD, BAD = "#2f8fd8", "#e0761f"


def history(trials: Sequence[Tried], metric: str, maximize: bool) -> str:
    """Each trial's value, and the best so far as a line; pruned ones as hollow points, at their last. "" for none."""
    points = [(each, value) for each in trials if (value := _value(each)) is not None]
    complete = [each for each, _ in points if each.state == "complete"]
    if not complete:
        return ""
    scale = _Scale([value for _, value in points], HEIGHT - EDGE, 12)
    across = _Scale([0.0, max(each.number for each, _ in points) + 2.0], EDGE, WIDTH - 12)
    better = max if maximize else min
    parts, line, so_far = [*_axis(scale)], [], None
    for each, value in points:
        x, y = across(each.number + 1), scale(value)
        what = f"<title>trial {each.number + 1}: {value:.5g}{' (pruned)' if each.state == 'pruned' else ''}</title>"
        if each.state == "pruned":
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="none" stroke="{BAD}">{what}</circle>')
            continue
        so_far = value if so_far is None else better(so_far, value)
        line.append(f"{x:.1f},{scale(so_far):.1f}")
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="currentColor" opacity=".45">{what}</circle>')
    parts.append(f'<polyline points="{" ".join(line)}" fill="none" stroke="{GOOD}" stroke-width="2"/>')
    words = f"{escape(metric)} by trial; line: best so far{'; hollow: pruned' if len(points) > len(complete) else ''}"
    parts.append(f'<text x="{WIDTH / 2:.0f}" y="{HEIGHT - 8}" text-anchor="middle">{words}</text>')
    return _svg(HEIGHT, f"{metric} of each trial", parts)


def importance(shares: Mapping[str, float]) -> str:
    """How much of the metric's spread each name explains, as bars; "" for none."""
    if not shares:
        return ""
    parts = []
    for index, (name, share) in enumerate(sorted(shares.items(), key=lambda item: -item[1])):
        y, width = 4 + 22 * index, share * (WIDTH - 260)
        parts.append(
            f'<text x="142" y="{y + 13}" text-anchor="end">{escape(name[:22])}</text>'
            f'<rect x="150" y="{y}" width="{max(width, 1):.1f}" height="16" rx="2" fill="{GOOD}"/>'
            f'<text x="{156 + width:.1f}" y="{y + 13}">{share:.0%}</text>'
        )
    height = 30 + 22 * len(shares)
    parts.append(f'<text x="150" y="{height - 8}">what matters: share of the spread that each explains</text>')
    return _svg(height, "How much each value matters", parts)


def parallel(trials: Sequence[Tried], space: Space, metric: str, maximize: bool) -> str:
    """Parallel coordinates: a line for each trial across one axis for each name, and the metric's. "" for none."""
    complete = [each for each in trials if each.state == "complete" and each.value is not None]
    if not complete:
        return ""
    sign = -1 if maximize else 1
    complete.sort(key=lambda each: -sign * (each.value or 0.0))  # the best is drawn last
    top, bottom = 30, HEIGHT - 24
    axes = [(name, _Axis(domain, bottom, top)) for name, domain in space.items()]
    values = _Scale([each.value or 0.0 for each in complete], bottom, top)
    gap = (WIDTH - 2 * EDGE - 20) / len(axes)
    parts = []
    for rank, each in enumerate(complete, 1):
        best = rank == len(complete)
        places = [(EDGE + gap * at, axis(each.params.get(name))) for at, (name, axis) in enumerate(axes)]
        places.append((EDGE + gap * len(axes), values(each.value or 0.0)))
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        style = f'stroke="{GOOD}" stroke-width="3"' if best else 'stroke="currentColor"'
        opacity = 1.0 if best else 0.08 + 0.4 * rank / len(complete)
        title = f"<title>trial {each.number + 1}: {each.value:.5g}</title>"
        parts.append(f'<polyline points="{points}" fill="none" {style} opacity="{opacity:.2f}">{title}</polyline>')
    for at, (name, axis) in enumerate(axes):
        parts += _upright(EDGE + gap * at, name, axis.ends, top, bottom)
    parts += _upright(EDGE + gap * len(axes), metric, (f"{values.low:.3g}", f"{values.high:.3g}"), top, bottom)
    return _svg(HEIGHT, "The values of each trial; the thick line is the best", parts)


def curve(points: Sequence[tuple[float, float]], at: float, words: str) -> str:
    """A line over a logarithmic axis, with one place on it marked."""
    across = _Scale([x for x, _ in points], EDGE, WIDTH - 12, True)
    scale = _Scale([y for _, y in points], HEIGHT - EDGE, 12)
    line, x = " ".join(f"{across(rate):.1f},{scale(y):.1f}" for rate, y in points), f"{across(at):.1f}"
    parts = [
        *_axis(scale),
        f'<polyline points="{line}" fill="none" stroke="currentColor" stroke-width="1.5"/>',
        f'<line x1="{x}" x2="{x}" y1="8" y2="{HEIGHT - EDGE}" stroke="{GOOD}" stroke-width="2"/>',
        f'<text x="{x}" y="{HEIGHT - EDGE + 14}" text-anchor="middle">{at:.2g}</text>',
        f'<text x="{WIDTH / 2:.0f}" y="{HEIGHT - 8}" text-anchor="middle">{escape(words)}</text>',
    ]
    return _svg(HEIGHT, words, parts)


class _Scale:
    """Numbers to places; far apart ones by their logarithm."""

    def __init__(self, values: Sequence[float], first: float, last: float, log: bool | None = None) -> None:
        self.low, self.high = min(values), max(values)
        middle = sorted(values)[len(values) // 2]
        self.log = self.low > 0 and self.high / max(middle, 1e-300) > 30 if log is None else log
        self._first, self._last = first, last

    def __call__(self, value: float) -> float:
        low, high, at = (math.log(each) if self.log else each for each in (self.low, self.high, value))
        share = (at - low) / (high - low) if high > low else 0.5
        return self._first + share * (self._last - self._first)


class _Axis:
    """The values of one name to places."""

    def __init__(self, domain: Domain, first: float, last: float) -> None:
        self._values: list[Any] = list(domain.values) if isinstance(domain, Choice) else []
        if isinstance(domain, Range):
            self._scale = _Scale([domain.low, domain.high], first, last, domain.log)
            self.ends = f"{domain.low:.3g}", f"{domain.high:.3g}"
        else:
            self._scale = _Scale([0, max(len(self._values) - 1, 1)], first, last, False)
            self.ends = str(self._values[0]), str(self._values[-1])

    def __call__(self, value: Any) -> float:
        return self._scale(self._values.index(value) if self._values else value)


def _value(each: Tried) -> float | None:
    """Where a trial stands: its value; of a pruned one the last that it reported."""
    return each.reports[max(each.reports)] if each.state == "pruned" and each.reports else each.value


def _axis(scale: _Scale) -> Iterator[str]:
    for value in (scale.low, scale.high) if scale.high > scale.low else (scale.low,):
        y = scale(value)
        yield f'<text x="{EDGE - 6}" y="{y + 4:.1f}" text-anchor="end">{value:.3g}</text>'
        yield f'<line x1="{EDGE}" x2="{WIDTH}" y1="{y:.1f}" y2="{y:.1f}" stroke="currentColor" opacity=".25"/>'


def _upright(x: float, name: str, ends: tuple[str, str], top: float, bottom: float) -> Iterator[str]:
    yield f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{bottom}" stroke="currentColor" opacity=".5"/>'
    for y, text in ((top - 18, name[:16]), (top - 5, ends[1][:12]), (bottom + 14, ends[0][:12])):
        weight = ' font-weight="bold"' if text == name[:16] and y == top - 18 else ""
        yield f'<text x="{x:.1f}" y="{y}" text-anchor="middle"{weight}>{escape(text)}</text>'


def _svg(height: float, title: str, parts: Sequence[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" role="img" '
        f'style="max-width:100%;font:11px sans-serif" fill="currentColor"><title>{escape(title)}</title>'
        f"{''.join(parts)}</svg>"
    )
