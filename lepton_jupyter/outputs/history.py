"""Every metric of a job, point by point: as its kernel measured them and its cell logged them.

Runs in the notebook's kernel and the command line. Of what a host tells, only numbers under plain names are taken.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..wire import Event
from ._measured import logged_rows, number, numbers


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    """One value: `time` is epoch seconds by the host's clock; `step` counts optimizer steps, or is the user's own."""

    name: str
    step: int
    time: float
    value: float


def history(events: Iterable[Event]) -> list[Point]:
    """All points of a job, in the order in which they came; values that were not finite have none."""
    found: list[Point] = []
    counts: dict[str, int] = {}  # of what was logged without a step
    for event in events:
        if event.event != "metrics":
            continue
        fields: Mapping[str, Any] = event.fields
        time, steps = number(fields.get("time")) or 0.0, number(fields.get("steps"))
        for name, value in numbers(fields.get("values")):
            if value is not None and steps is not None:
                found.append(Point(name=name, step=int(steps), time=time, value=value))
        if (rate := number(fields.get("rate"))) is not None and steps is not None:
            found.append(Point(name="steps_per_second", step=int(steps), time=time, value=rate))
        for at, step, row in logged_rows(fields.get("logged")):
            for name, value in row:
                counts[name] = counts.get(name, -1) + 1
                if value is not None:
                    found.append(
                        Point(name=name, step=counts[name] if step is None else int(step), time=at, value=value)
                    )
    return found
