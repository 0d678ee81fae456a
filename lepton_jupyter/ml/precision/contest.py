"""Runs a recorded step in several ways and finds the fastest that agrees with float32. In the kernel.

Times are the shortest of several, taken in turns with the best way so far, so that a busy machine slows both. A way
agrees if the gradients point the same way and the loss, to first order, would be the same.
"""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from ..rerunning import near, still
from . import limits, replay
from .measures import agreement, finite, kept_bytes, timed
from .plans import Force, Plan
from .scaling import Scaling


@dataclass
class Measured:
    """What one way took, and how far it was from float32."""

    plan: Plan
    seconds: float
    loss: float = 0.0  # change, as a share


class Contest:
    """Between the plan in force and others; `best` is the winner so far. What is begun leaves everything as it was."""

    def __init__(self, calls: list[replay.Call], force: Force, scaling: Scaling) -> None:
        self._calls, self._force, self._scaling = calls, force, scaling
        self._modules = list(dict.fromkeys(call.module for call in calls))
        self._still: Callable[[], Any] = contextlib.nullcontext  # around what is compared
        self._wanted: Any = None  # outputs and gradients in float32
        self._losers: list[Measured] = []
        self._refused: list[str] = []
        self._memory = ""

    @contextmanager
    def open(self) -> Iterator[None]:
        """Within, `enter` may be called; afterwards the best plan is in force. Raises Unsound."""
        replay.check(self._calls)
        base = self._force.now
        with replay.kept(self._modules), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._choose(base)
            self._wanted = [replay.run(call) for call in self._calls]
            self._check_repeatable()
            if base != Plan():
                self._choose(Plan())
                self._wanted = [replay.run(call) for call in self._calls]
            pairs = zip(self._calls, self._wanted, strict=False)
            if any(replay.is_random(call, outputs) for call, (outputs, _) in pairs):
                self._still = lambda: still(self._modules)
                with self._still():
                    self._wanted = [replay.run(call) for call in self._calls]
            self._choose(base)
            if base.precision == "fp16":
                self._run_all(base)  # so that the loss's scale fits
            self.first = self.best = Measured(base, min(self._timed(base) for _ in range(limits.TURNS)))
            yield
            if self.best is not self.first:
                self._weigh()
            self._choose(self.best.plan)
        self._choose(self.best.plan)  # attributes are as they were before; what is compiled hangs on one

    def enter(self, change: dict[str, Any]) -> None:
        """Try the best plan so far with that change."""
        plan = replace(self.best.plan, **change)
        try:
            found = self._measure(plan)
        except Exception as error:  # noqa: BLE001 - a way that a model, a device or a compiler does not know
            self._refused.append(f"{plan}: {brief(error)}")
            return
        if found.seconds < limits.GAIN * self.best.seconds:
            found, self.best = self.best, found
        if found is not self.first:
            self._losers.append(found)

    def words(self) -> list[str]:
        """What came out, in sentences."""
        best, first = self.best, self.first
        took = f"{_ms(best.seconds)} for a step's forward and backward"
        said = f"{first.plan} stays, it is the fastest here: {took}"
        if best is not first:
            said = (
                f"{best.plan}: {took}, {first.plan} {_ms(first.seconds)}; "
                f"the loss differs by {best.loss:.2%}{self._memory}"
            )
        others = ", ".join(f"{each.plan} {_ms(each.seconds)}" for each in self._losers)
        return [
            said,
            *([f"also measured: {others}"] if others else []),
            *([f"not possible: {'; '.join(self._refused)}"] if self._refused else []),
        ]

    def _measure(self, plan: Plan) -> Measured:
        self._choose(plan)
        loss = self._compare(plan)
        shortest = math.inf
        for _ in range(limits.TURNS):
            shortest = min(shortest, self._timed(plan))
            if shortest > limits.HOPELESS * self.best.seconds:
                break
            self._choose(self.best.plan)
            self.best.seconds = min(self.best.seconds, self._timed(self.best.plan))
            self._choose(plan)
        return Measured(plan, shortest, loss)

    def _compare(self, plan: Plan) -> float:
        """By which share the loss differs from float32's. Raises Unsound where the plan does not agree."""
        if plan.compiled:  # draws the same random numbers; without dropout, all would be compiled once more
            plain = replace(plan, compiled=False)
            self._choose(plain)
            wanted = self._run_all(plain)
            self._choose(plan)
            return self.best.loss + agreement(self._calls, self._run_all(plan), wanted, self._scaling.last)
        with self._still():
            found = self._run_all(plan)
        return agreement(self._calls, found, self._wanted, self._scaling.last)

    def _run_all(self, plan: Plan) -> Any:
        """Outputs and gradients; the loss is scaled by less and less until they are finite."""
        while True:
            scale = self._scale(plan)
            found = [replay.run(call, scale) for call in self._calls]
            if scale <= 1 or all(finite(gradients) for _, gradients in found):
                return found
            self._scaling.scale = scale / 2

    def _weigh(self) -> None:
        """What the first and the best plan keep for backward; unknown of what is compiled."""
        if self.best.plan.compiled or self.first.plan.compiled:
            return
        kept = []
        for plan in (self.first.plan, self.best.plan):
            self._choose(plan)
            kept.append(kept_bytes(self._calls, self._scale(plan)) / 1e6)
        self._memory = f", keeps {kept[1]:.1f} MB for backward instead of {kept[0]:.1f}"

    def _timed(self, plan: Plan) -> float:
        return timed(self._calls, self._scale(plan))

    def _scale(self, plan: Plan) -> float:
        return self._scaling.scale if plan.precision == "fp16" else 1.0

    def _choose(self, plan: Plan) -> None:
        self._force.choose(plan, self._modules)

    def _check_repeatable(self) -> None:
        for call, (outputs, _) in zip(self._calls, self._wanted, strict=False):
            for before, now in zip(call.outputs, outputs, strict=False):
                if not near(before, now):
                    name = type(call.module).__name__
                    raise replay.Unsound(
                        f"{name} does not answer the same when it is called again (it keeps state of its own)"
                    )


def brief(error: Exception) -> str:
    """The first line of what went wrong."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:120]


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.3g} ms"
