"""How far a job is, from all bars it shows: which one is the whole, which is a part of it, and how long it will take.

Bars that a cell shows are levels: epochs, and in each of them batches. The first one that is not complete is the
whole, and the one that moved last is the part of its current unit. A bar that is left standing is found out by the
others: they end twice and it did not move, or they move on the terminal's own line, where there is room for one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from ._readings import Step

#: The bars of a cell beyond this number are those of a flood, and the oldest are forgotten.
_MOST = 16


@dataclass(slots=True)
class _Level:
    step: Step
    moved: int  # tick of its last move
    nested: bool  # was drawn below another bar of the terminal
    ends: int = 0  # how often parts of it ended since it moved


class Levels:
    """The bars of one cell, and what they say together."""

    def __init__(self) -> None:
        self._levels: dict[str, _Level] = {}
        self._tick = 0
        self._eta = _Eta()
        self._fraction = 0.0
        self._time = 0.0

    def take(self, step: Step, time: float) -> None:
        """A bar was drawn, at `time` (seconds since the epoch, by the host's clock)."""
        self._tick += 1
        known = self._levels.get(step.key)
        if known is None:
            self._clear_for(step)
            self._levels[step.key] = _Level(step, self._tick, step.nested)
        elif known.step.done == step.done:
            known.nested |= step.nested  # the cursor goes back up after the bar is drawn
            return
        else:
            known.nested |= step.nested
            if step.done >= step.total or step.done < known.step.done:
                self._end_of(step.key)
            known.step, known.moved, known.ends = step, self._tick, 0
            if not known.nested:
                self._clear_before(step.key)
        self._fraction, self._time = self._whole()[1], time
        self._eta.take(self._fraction, time)

    def telemetry(self) -> dict[str, Any]:
        """The key ``progress`` of a job's telemetry, or nothing."""
        if not self._levels:
            return {}
        level, fraction = self._whole()
        return {
            "progress": {
                "fraction": round(fraction, 4),
                "done": _whole_number(max(level.step.done, math.floor(fraction * level.step.total + 1e-6))),
                "total": _whole_number(level.step.total),
                "unit": level.step.unit,
                "eta": self._eta.seconds(fraction),
                "time": self._time,
            }
        }

    def _whole(self) -> tuple[_Level, float]:
        """The level that stands for the whole, and how much of it is done."""
        levels = list(self._levels.values())
        newest = max(level.moved for level in levels)
        whole = next(level for level in levels if level.step.done < level.step.total or level.moved == newest)
        parts = [level for level in levels[levels.index(whole) + 1 :] if level.moved > whole.moved]
        done = whole.step.done
        if parts and done < whole.step.total:
            part = max(parts, key=lambda level: level.moved)
            done = min(whole.step.total, done + part.step.done / part.step.total)
        return whole, done / whole.step.total

    def _clear_for(self, step: Step) -> None:
        """A new bar: what is complete is over, and what it takes the place of was left."""
        if self._levels and self._whole()[1] >= 1:
            self._levels.clear()
        for key, level in list(self._levels.items()):
            if level.step.done >= level.step.total or len(self._levels) >= _MOST:
                del self._levels[key]

    def _clear_before(self, key: str) -> None:
        """The bar `key` moves on the terminal's own line, so those that were there before were left."""
        for before in list(self._levels):
            if before == key:
                return
            if not self._levels[before].nested:
                del self._levels[before]

    def _end_of(self, key: str) -> None:
        """A bar ended or began again: those before it which did not move for two of its rounds are no whole of it."""
        keys = list(self._levels)
        for before in keys[: keys.index(key)]:
            level = self._levels[before]
            level.ends += 1
            if level.ends > 3:  # an end and a new beginning count each
                del self._levels[before]


class _Eta:
    """Seconds left, from the speed of late: a slow first step (compiling, filling a cache) is forgotten by and by."""

    def __init__(self) -> None:
        self._last: tuple[float, float] | None = None  # fraction, time
        self._began = 0.0
        self._speed = 0.0  # fraction a second; 0 = not known yet

    def take(self, fraction: float, time: float) -> None:
        if self._last is None or fraction < self._last[0]:
            self._last, self._began, self._speed = (fraction, time), time, 0.0
            return
        passed = time - self._last[1]
        if passed <= 0 or fraction == self._last[0]:
            return
        speed = (fraction - self._last[0]) / passed
        remembered = min(max(0.3 * (time - self._began), 5.0), 300.0)  # seconds
        weight = 1.0 if not self._speed else 1.0 - math.exp(-passed / remembered)
        self._speed += weight * (speed - self._speed)
        self._last = (fraction, time)

    def seconds(self, fraction: float) -> float | None:
        """From the last move on; None while nothing has moved."""
        if fraction >= 1:
            return 0.0
        return round((1.0 - fraction) / self._speed, 1) if self._speed > 0 else None


def _whole_number(value: float) -> float:
    return int(value) if float(value).is_integer() else round(value, 2)
