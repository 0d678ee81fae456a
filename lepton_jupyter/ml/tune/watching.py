"""What one trial reports: its metric as the cell logs it, as the framework tells it, or as a variable that it leaves.

Runs in the kernel, within the training's own thread. A trial is ended from within its hooks, by an exception that no
``except Exception`` of the cell's takes for its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..metrics import Listener, Meter

#: The metric of a cell that was asked for none: the first of these that there is.
USUAL = ("val_loss", "eval_loss", "loss")
#: Losses of single steps that are kept, as means of ever more of them.
_PARTS = 64
#: The part of the steps, at the end, that the loss of a loop is the mean of.
_END = 0.1


class Pruned(BaseException):
    """A trial is not worth its end."""


class Enough(BaseException):
    """A probe has seen what it wanted. All is put back then; what the cell did to the world outside, it has done."""


@dataclass
class Trace:
    """Losses of single steps: sums, which stay on their device, of runs of steps that grow with their number."""

    sums: list[Any] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    _wide: int = 1

    def add(self, loss: Any) -> None:
        """The loss of one more step; of shape ()."""
        if self.counts and self.counts[-1] < self._wide:
            self.sums[-1], self.counts[-1] = self.sums[-1] + loss, self.counts[-1] + 1
            return
        if len(self.counts) == _PARTS:
            self.sums = [first + second for first, second in zip(self.sums[::2], self.sums[1::2], strict=True)]
            self.counts = [first + second for first, second in zip(self.counts[::2], self.counts[1::2], strict=True)]
            self._wide *= 2
        self.sums.append(loss)
        self.counts.append(1)

    def mean(self, share: float = _END) -> float | None:
        """Of the last `share` of the steps, or a few more; None without any. A GPU is waited for."""
        steps, total, wanted = 0, 0.0, share * sum(self.counts)
        for loss, count in zip(reversed(self.sums), reversed(self.counts), strict=True):
            total, steps = total + float(loss), steps + count
            if steps >= wanted:
                break
        return total / steps if steps else None


class Watch(Listener):
    """Sees the metric of one trial at a time. `metric` is its name; "" for the usual one."""

    def __init__(self, meter: Meter, metric: str = "") -> None:
        self._meter, self._metric = meter, metric
        self.begin(None)

    def begin(self, report: Callable[[float, int], bool] | None) -> None:
        """A trial begins. `report` is told each value of the metric and its number; True ends the trial."""
        self._report = report
        self._logged: dict[str, list[float | None]] = {}
        self._seen: dict[str, list[float | None]] = {}
        self._trace = Trace()
        self._epochs = self._look_at = self._turns = 0

    def stepped(self) -> None:
        meter = self._meter
        source = meter.sources.get("torch") or meter.sources.get("tape")
        if source is None or self._metric not in ("", "loss") or self._name(self._logged):
            return
        steps = meter.steps
        if steps % (steps // 500 + 1) == 0:  # of many steps, some
            loss = source().get("loss")
            if loss is not None:
                self._trace.add(loss)
        if self._report is not None and steps >= self._look_at:
            self._look(steps)

    def ended_epoch(self) -> None:
        source = self._meter.sources.get("keras")
        if source is None:
            return
        for name, value in source().items():
            try:
                number = float(value)
            except (TypeError, ValueError):
                continue
            self._seen.setdefault(name, []).append(number if math.isfinite(number) else None)
        if self._name(self._seen) and not self._name(self._logged):
            self._tell(self._seen)

    def logged(self, values: dict[str, float | None]) -> None:
        for name, value in values.items():
            self._logged.setdefault(name, []).append(value)
        if self._name(values):
            self._tell(self._logged)

    def outcome(self, left: Mapping[str, Any]) -> tuple[str, float | None] | None:
        """The metric's name and value (None: not finite) at a trial's end; `left` are the cell's variables.

        What was logged counts more than what was seen, that more than a variable. None: there is no such metric.
        """
        for values in (self._logged, self._seen):
            if name := self._name(values):
                return name, values[name][-1]
        if self._metric in ("", "loss") and (loss := self._trace.mean()) is not None:
            return "loss", loss if math.isfinite(loss) else None
        if self._metric in left:
            try:
                number = float(left[self._metric])
            except (TypeError, ValueError):
                return None
            return self._metric, number if math.isfinite(number) else None
        return None

    @property
    def known(self) -> list[str]:
        """Names of all metrics that the trial told."""
        return list(dict.fromkeys([*self._logged, *self._seen, *(["loss"] if self._trace.counts else [])]))

    def _name(self, values: Mapping[str, Any]) -> str:
        return next((name for name in ([self._metric] if self._metric else USUAL) if name in values), "")

    def _tell(self, values: Mapping[str, list[float | None]]) -> None:
        found = values[self._name(values)]
        self._report_value(found[-1], len(found))

    def _look(self, steps: int) -> None:
        """Report the loss of a loop when an epoch, the outermost loop's turn, is behind."""
        self._look_at = steps + max(1, steps // 20)  # by the count of steps alone, so that a seed means the same
        self._meter.due = True
        loops = self._meter.around()
        turns = int(loops[0].done) if loops else 0
        if turns > self._turns:
            self._turns = turns
            self._report_value(self._trace.mean(max(1 / turns, _END)), turns)

    def _report_value(self, value: float | None, number: int) -> None:
        if self._report is not None and value is not None and math.isfinite(value) and self._report(value, number):
            raise Pruned
