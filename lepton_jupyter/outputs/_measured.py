"""What a job's kernel measured and what its cell logged, as the host tells it; nothing of it is taken on trust.

Runs in the notebook's kernel, the server and the command line. Whatever is not as it should be is left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from ._curves import Curves
from ._levels import Levels
from ._readings import Step
from .words import size, visible

#: Values that are taken at once, and characters of a name: more is no training of ours.
_MOST, _LONGEST = 10_000, 200
#: Of the newest values, so many are told in words.
_SAID = 12
_NAMES = {"learning_rate": "learning rate", "grad_norm": "gradient norm", "gpu_memory": "GPU memory"}


class Measured:
    """The events ``metrics`` of one job."""

    def __init__(self) -> None:
        self.curves, self.logged = Curves(), Curves()
        self.levels = Levels()
        self._training: dict[str, Any] = {}
        self._trainer = False  # a training library counts its own steps

    def take(self, fields: Mapping[str, Any], time: float, began: float) -> None:
        """One event, which came at `time`; the job began at `began`."""
        values = dict(numbers(fields.get("values")))
        if values or (fields.get("steps") is not None):
            steps, rate = number(fields.get("steps")), number(fields.get("rate"))
            before = self._training
            self._training = {
                "steps": steps,
                "rate": before.get("rate") if rate is None else _short(rate),
                "values": {name: None if value is None else _short(value) for name, value in [*values.items()][:_SAID]},
                "unsaid": max(0, len(values) - _SAID),
            }
            for name, value in values.items():
                if name not in _NAMES:
                    self.curves.take(name, time - began, value)
            self._trainer = fields.get("trainer") is True
            self._steps(fields.get("loops"), time)
        for at, _, row in logged_rows(fields.get("logged")):
            for name, value in row:
                self.logged.take(name, max(at - began, 0.0), value)

    def trainers(self) -> dict[str, Any]:
        """The key ``progress`` as a training library counts while it trains: its bars may show a part, from 0 on."""
        known = self.levels.telemetry() if self._trainer else {}
        return known if known and known["progress"]["fraction"] < 1 else {}

    def training(self) -> dict[str, Any]:
        """The key ``training`` of a job's telemetry, or nothing."""
        return {"training": {**self._training, "words": self._words()}} if self._training else {}

    def _words(self) -> str:
        """ "1,200 steps · 412 steps/s · learning rate 0.001 · gradient norm 0.83"."""
        steps, rate = self._training["steps"], self._training["rate"]
        words = [f"{steps:,.0f} steps"] if steps else []
        words += [f"{rate:.3g} steps/s"] if rate else []
        for name, value in self._training["values"].items():
            shown = "not finite" if value is None else size(value) if name == "gpu_memory" else f"{value:.4g}"
            words.append(f"{_NAMES.get(name, visible(name)[:40])} {shown}")
        words += [f"{self._training['unsaid']:,} more"] if self._training["unsaid"] else []
        return " · ".join(words)

    def _steps(self, loops: Any, time: float) -> None:
        for loop in loops if isinstance(loops, list) else ():
            if isinstance(loop, list) and len(loop) == 3 and isinstance(loop[0], str):
                done, total = number(loop[1]), number(loop[2])
                if done is not None and total and 0 <= done <= total:
                    name = loop[0][:_LONGEST]
                    self.levels.take(Step(key=f"loop {name}", done=done, total=total, unit=name), time)


def logged_rows(given: Any) -> Iterator[tuple[float, float | None, list[tuple[str, float | None]]]]:
    """What `lepton.log` was given: when, at which step if that was said, and the values."""
    for row in given if isinstance(given, list) else ():
        if isinstance(row, list) and len(row) == 3 and (at := number(row[0])) is not None:
            yield at, number(row[1]), list(numbers(row[2]))


def numbers(given: Any) -> Iterator[tuple[str, float | None]]:
    """Names and values; a value that is no number, or not finite, is None."""
    for name, value in list(given.items())[:_MOST] if isinstance(given, Mapping) else ():
        if isinstance(name, str):
            yield name[:_LONGEST], number(value)


def number(value: Any) -> float | None:
    """`value`, if it is a finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if math.isfinite(value) else None


def _short(value: float) -> float:
    return float(f"{value:.4g}")
